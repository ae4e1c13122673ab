"""A line for a crontab."""

from __future__ import annotations

import shlex

from fedcli.operations.schedule.scheduled_command import Schedule, ScheduledCommand, ScheduleRequest, interval
from fedcli.results import Status
from fedcli.workspace import PASSPHRASE_FILE_VARIABLE


def cron(request: ScheduleRequest) -> Schedule:
    """Return the lines that a party pastes into its crontab.

    Two runs never work at once: the second one finds the workspace's lock taken, and exits. cron mails what a run prints: each
    event once, and what needs a person when it begins and then daily.

    Raises:
        ConfigurationError: There is no such workspace.
        UsageError: See `ScheduledCommand.of`.
    """
    own = ScheduledCommand.of(request)
    words = ["timeout", f"{request.hours}h", *own.words]
    if own.passphrase is not None:
        words = ["env", f"{PASSPHRASE_FILE_VARIABLE}={own.passphrase}", *words]
    line = shlex.join(words).replace("%", "\\%")  # cron takes a bare % for a line break
    minute, every = own.minute(request.every), request.every
    minutes = {1: "*", 60: str(minute)}.get(every, f"{minute}-59/{every}")
    lines = [
        f"# {own.name}: {own.verb} {interval(every)}. Paste it with `crontab -e`.",
        "# cron mails what it prints: an event once, what needs a person when it begins and then daily (`fedcli docs notices`).",
        "# To this address; without the line, to the account itself:",
        "# MAILTO=someone@hospital.example",
        f"{minutes} * * * * {line}",
    ]
    return Schedule(status=Status.DONE, message="\n".join(lines), command=own.words)

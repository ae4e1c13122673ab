"""A service and a timer for systemd."""

from __future__ import annotations

from fedcli.operations.schedule.scheduled_command import Schedule, ScheduledCommand, ScheduleRequest, interval
from fedcli.results import Status
from fedcli.workspace import PASSPHRASE_CREDENTIAL

_SERVICE = """\
[Unit]
Description={description}

[Service]
Type=oneshot
ExecStart={command}
TimeoutStartSec={hours}h
SuccessExitStatus=130
UMask=0077
"""
_TIMER = """\
[Unit]
Description={description}, {interval}

[Timer]
OnCalendar={calendar}
RandomizedDelaySec={delay}
Persistent=true

[Install]
WantedBy=timers.target
"""


def systemd(request: ScheduleRequest) -> Schedule:
    """Return a script that installs a service and a timer for the account that owns the workspace.

    A run that is stopped by its time-out has kept a checkpoint and exits with 130, which is no failure.

    Raises:
        ConfigurationError: There is no such workspace.
        UsageError: See `ScheduledCommand.of`.
    """
    own = ScheduledCommand.of(request)
    description = f"fedcli {own.verb} of {own.party}"
    service = _SERVICE.format(description=description, command=" ".join(map(_quoted, own.words)), hours=request.hours)
    if own.passphrase is not None:
        service += f"LoadCredential={PASSPHRASE_CREDENTIAL}:{_escaped(str(own.passphrase))}\n"
    delay = f"{request.every * 60 // 3}s"
    calendar = "hourly" if request.every == 60 else f"*:0/{request.every}"  # noqa: PLR2004 - minutes in an hour
    timer = _TIMER.format(description=description, interval=interval(request.every), calendar=calendar, delay=delay)
    folder = '"${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user"'
    lines = [
        "#!/bin/sh",
        "# A service and a timer; run it as the account that owns the workspace.",
        "set -eu",
        f"mkdir -p {folder}",
        f"cat > {folder}/{own.name}.service <<'END'",
        f"{service}END",
        f"cat > {folder}/{own.name}.timer <<'END'",
        f"{timer}END",
        "systemctl --user daemon-reload",
        f"systemctl --user enable --now {own.name}.timer",
        "loginctl enable-linger  # it also runs while nobody is logged in",
    ]
    return Schedule(status=Status.DONE, message="\n".join(lines), command=own.words)


def _quoted(word: str) -> str:
    """Return a word of ExecStart, in which % and $ stand for themselves."""
    text = _escaped(word).replace("$", "$$")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if set(text) & set(" \t'\"\\;") else text


def _escaped(text: str) -> str:
    return text.replace("%", "%%")

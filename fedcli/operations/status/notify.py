"""Tell a party, after one of its commands has ended without a terminal, what it was not told yet.

An event is told once; a state that needs a person is told when it begins and then daily. What the command prints, cron mails:
`printed` is a channel like the others. The federation is looked at where something has happened, and otherwise once an hour: of
runs every few minutes, most cost nothing. Nothing here makes a command fail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcli.errors import ApprovalError, FedcliError, StoreError
from fedcli.notice_settings import NoticeKind
from fedcli.notices.channels import channels_of
from fedcli.notices.delivery import deliver
from fedcli.notices.event_lines import remember
from fedcli.notices.notice import Notice
from fedcli.notices.told import PRINTED, Told
from fedcli.operations.status.lasting_notices import HISTORY, MEMBERSHIP, Viewpoint
from fedcli.operations.status.overview import observe
from fedcli.party.source import Source
from fedcli.private_files import BusyError, exclusive
from fedcli.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.environment import Environment

_LOCK = "told.lock"
_LOOK = timedelta(hours=1)
_UNDELIVERED = "undelivered: "
_ENDED = "looked at the end"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyRequest:
    """How a command has ended.

    Attributes:
        root: The party's workspace.
        command: The command.
        idle: Whether it has found nothing to do.
        ended: Whether it has found that all rounds are done.
        failure: Why it has failed; None if it has not.
        prints: Whether notices are printed too; the output of some commands says it all.
        lines: What it has said on its way.
    """

    root: Path
    command: str
    idle: bool
    ended: bool = False
    failure: Exception | None = None
    prints: bool = True
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What is to be printed.

    Attributes:
        lines: Notices, one per line.
        failure: Whether the command's error is to be printed: it begins, or it lasts and was printed a day ago.
    """

    lines: tuple[str, ...] = ()
    failure: bool = True


def notify(request: NotifyRequest, environment: Environment, log: Callable[[str], None]) -> Notification:
    """Send the notices that are due over the workspace's channels, and return what is to be printed.

    Args:
        request: How the command has ended.
        environment: Says what time it is.
        log: Takes one line for each thing that happens here.
    """
    try:
        with exclusive(request.root / _LOCK):
            return _Run(request, environment, Told(request.root), log).tell()
    except BusyError:
        return Notification(failure=False)  # another command of this party is telling
    except (FedcliError, OSError) as error:
        log(f"notices: {error}")
        return Notification()


class _Run:
    """One run: looks, sends, and remembers."""

    def __init__(self, request: NotifyRequest, environment: Environment, told: Told, log: Callable[[str], None]) -> None:
        self._request, self._environment, self._told, self._log = request, environment, told, log
        self._moment = environment.clock()
        try:
            self._workspace: Workspace | None = Workspace.open(request.root)
        except FedcliError:
            self._workspace = None  # the command itself has failed for it
        self._channels = channels_of(self._workspace) if self._workspace is not None else ()

    def tell(self) -> Notification:
        """Look, send, remember, and return what is to be printed."""
        if not (self._request.prints or self._channels):
            return Notification()
        failed = f"{NoticeKind.FAILED}: {self._request.command}: "
        if not self._request.ended:
            self._told.end([_ENDED], [])  # rounds can be added
        failure = self._failure()
        news = failure is not None and self._due(failure, PRINTED)
        looked_at: tuple[str, ...] = ()
        notices: tuple[Notice, ...] = ()
        if news or self._is_time():
            looked_at, notices = self._look()
            if failure is not None and not self._explained(notices):
                notices = (failure, *notices)
        self._told.end((failed, *looked_at), [item.key for item in (*notices, *((failure,) if failure else ()))])
        remember(self._request.command, self._request.lines, self._told, self._moment)
        lines = self._send(notices)
        lines += [notice.text for notice in self._unprinted(notices, failure)]
        if failure is not None and news and self._request.prints:
            self._told.mark(failure.key, PRINTED, self._moment)
        self._told.save()
        return Notification(lines=tuple(lines), failure=news)

    def _failure(self) -> Notice | None:
        """Return the notice of the command's failure."""
        error, command = self._request.failure, self._request.command
        if error is None:
            return None
        what = str(error) if isinstance(error, FedcliError) else f"{type(error).__name__}, which fedcli cannot explain"
        kind = re.sub(r"[0-9][0-9.,]*", "0", what)  # rounds, sizes and times change while the failure lasts
        return Notice(
            kind=NoticeKind.FAILED,
            subject=f"{command}: {kind}",
            federation="",
            party=self._workspace.settings.name if self._workspace is not None else "",
            round=None,
            message=f"{command}: {what}",
        )

    def _is_time(self) -> bool:
        """Return whether to look though no new failure asks for it."""
        looked = self._told.looked
        return (
            not (self._request.idle or self._request.failure)
            or looked is None
            or (self._request.ended and self._told.due(_ENDED, PRINTED, self._moment, once=True))
            or not (timedelta() <= self._moment - looked < _LOOK)
        )

    def _look(self) -> tuple[tuple[str, ...], tuple[Notice, ...]]:
        """Return the beginnings of the keys that were looked at, and the notices that hold; nothing if it is in vain."""
        if self._workspace is None or isinstance(self._request.failure, StoreError):
            return (), ()
        try:
            state, ledger = observe(Source.of_workspace(self._workspace), self._environment, newest=True)
        except (FedcliError, OSError) as error:
            self._log(f"notices: {error}")
            return (), ()
        self._told.looked = self._moment
        if self._request.ended:
            self._told.mark(_ENDED, PRINTED, self._moment)
        viewpoint = Viewpoint(
            state=state, ledger=ledger, workspace=self._workspace, moment=self._moment, command=self._request.command
        )
        kinds = [f"{kind}: " for kind in NoticeKind if kind is not NoticeKind.FAILED]
        kinds += [f"{NoticeKind.FAILED}: {subject}" for subject in (HISTORY, MEMBERSHIP)]
        return tuple(kinds), viewpoint.notices()

    def _explained(self, notices: tuple[Notice, ...]) -> bool:
        """Return whether a notice says why the command has failed, and what to do."""
        if isinstance(self._request.failure, ApprovalError):
            return any(notice.stops or notice.kind is NoticeKind.YOUR_TURN for notice in notices)
        return self._request.failure is not None and any(
            notice.kind is NoticeKind.FAILED and str(self._request.failure) in notice.message for notice in notices
        )

    def _send(self, notices: tuple[Notice, ...]) -> list[str]:
        """Send what is due; return a line for each channel that has just begun to fail, or has failed for a day."""
        if self._workspace is None:
            return []
        chosen = self._workspace.settings.notify
        wanted = [notice for notice in notices if chosen.wants(notice.kind)]
        failures = deliver(wanted, self._channels, self._told, self._moment, self._log)
        lines = []
        for failure in failures:
            self._told.looked = None  # the next run looks again, and tries again
            text = f"notify.{failure.channel}: a notice could not be sent, and the next run tries again: {failure.message}"
            self._log(text)
            if self._told.due(_UNDELIVERED + failure.channel, PRINTED, self._moment, once=False):
                self._told.mark(_UNDELIVERED + failure.channel, PRINTED, self._moment)
                lines.append(text)
        if notices:
            self._told.end([_UNDELIVERED], [_UNDELIVERED + failure.channel for failure in failures])
        return lines

    def _unprinted(self, notices: tuple[Notice, ...], failure: Notice | None) -> list[Notice]:
        """Return the notices to print, and remember them; what the command's own error says is not said again."""
        explained = self._explained(notices)
        lines = []
        for notice in notices if self._request.prints else ():
            if notice == failure or notice.kind is NoticeKind.ROUND_OPEN or not self._due(notice, PRINTED):
                continue
            self._told.mark(notice.key, PRINTED, self._moment)
            if not (explained and notice.stops):
                lines.append(notice)
        return lines

    def _due(self, notice: Notice, channel: str) -> bool:
        return self._told.due(notice.key, channel, self._moment, once=notice.once)

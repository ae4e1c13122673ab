"""How bad it is that a notice holds, in the terms of Nagios' plug-ins."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from fedcli.notice_settings import NoticeKind

if TYPE_CHECKING:
    from fedcli.notices.notice import Notice


class Severity(IntEnum):
    """What a Nagios plug-in exits with."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


def severity_of(notice: Notice) -> Severity:
    """Return critical for what is overdue or stopped, and a warning for what is this party's turn."""
    if notice.stops or notice.kind is NoticeKind.OVERDUE:
        return Severity.CRITICAL
    if notice.kind in {NoticeKind.YOUR_TURN, NoticeKind.KEY_WAITING, NoticeKind.PLAN_CHANGED}:
        return Severity.WARNING
    return Severity.OK

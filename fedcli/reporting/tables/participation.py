"""Who took part in which round: no silent subset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from fedcli.exchange.history import History
    from fedcli.exchange.records import Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """One round.

    Attributes:
        round: t, from 1.
        created: When the coordinator closed it.
        contributed: Sites whose updates are in φ(t).
        absent: Sites that had sent nothing by then.
        rejected: Sites whose update was refused, and why.
        late: Sites whose update for this round came after it was closed.
    """

    round: int
    created: datetime
    contributed: tuple[str, ...]
    absent: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    late: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every member contributed."""
        return not self.absent and not self.rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendance:
    """One site over all rounds; the numbers are those of rounds, ascending."""

    site: str
    contributed: tuple[int, ...]
    absent: tuple[int, ...]
    rejected: tuple[int, ...]
    late: tuple[int, ...]


def participation(history: History) -> tuple[Participation, ...]:
    """Return the rounds from 1 on, ascending."""
    late: dict[int, set[str]] = {}
    for found in history.rounds:
        for item in found.record.late:
            late.setdefault(item.round, set()).add(item.site)
    return tuple(
        Participation(
            round=found.record.round,
            created=found.record.created,
            contributed=tuple(item.site for item in found.record.contributions),
            absent=found.record.absent,
            rejected=found.record.rejected,
            late=tuple(sorted(late.get(found.record.round, ()))),
        )
        for found in history.rounds[1:]
    )


def attendance(history: History) -> tuple[Attendance, ...]:
    """Return the same by site: the members, and whoever was one in an earlier round."""
    rounds = participation(history)
    names = set(history.sites)
    for item in rounds:
        names |= {*item.contributed, *item.absent, *(refused.site for refused in item.rejected)}
    return tuple(
        Attendance(
            site=site,
            contributed=tuple(item.round for item in rounds if site in item.contributed),
            absent=tuple(item.round for item in rounds if site in item.absent),
            rejected=tuple(item.round for item in rounds if site in {refused.site for refused in item.rejected}),
            late=tuple(item.round for item in rounds if site in item.late),
        )
        for site in sorted(names)
    )

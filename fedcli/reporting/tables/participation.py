"""Who took part in which round: no site is left out silently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from fedcli.exchange.history import History
    from fedcli.exchange.records import Excused, Rejected, Restart


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundParticipation:
    """One round.

    Attributes:
        round: t, from 1.
        created: When the coordinator closed it.
        contributed: Sites whose updates are in φ(t).
        absent: Sites that had sent nothing by then.
        excused: Sites that had sent nothing and were left out, and why.
        rejected: Sites whose update was rejected, and why.
        late: Sites whose update for this round came after it was closed.
        restart: The earlier round whose model it has again, and why; None for a round of training.
    """

    round: int
    created: datetime
    contributed: tuple[str, ...]
    absent: tuple[str, ...]
    excused: tuple[Excused, ...]
    rejected: tuple[Rejected, ...]
    late: tuple[str, ...]
    restart: Restart | None

    @property
    def complete(self) -> bool:
        """Whether every member contributed."""
        return not self.without

    @property
    def without(self) -> tuple[str, ...]:
        """The members that did not contribute."""
        return (*self.absent, *(item.site for item in self.excused), *(item.site for item in self.rejected))


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteParticipation:
    """One site over all rounds: the numbers of the rounds, ascending."""

    site: str
    contributed: tuple[int, ...]
    absent: tuple[int, ...]
    excused: tuple[int, ...]
    rejected: tuple[int, ...]
    late: tuple[int, ...]


def participation_by_round(history: History) -> tuple[RoundParticipation, ...]:
    """Return the rounds from 1 on, ascending."""
    late: dict[int, set[str]] = {}
    for closed in history.rounds:
        for item in closed.record.late:
            late.setdefault(item.round, set()).add(item.site)
    return tuple(
        RoundParticipation(
            round=record.round,
            created=record.created,
            contributed=tuple(item.site for item in record.contributions),
            absent=record.absent,
            excused=record.excused,
            rejected=record.rejected,
            late=tuple(sorted(late.get(record.round, ()))),
            restart=record.restart,
        )
        for record in (closed.record for closed in history.rounds[1:])
    )


def participation_by_site(history: History) -> tuple[SiteParticipation, ...]:
    """Return the participation of the members, and of sites that were members in an earlier round."""
    rounds = participation_by_round(history)
    names = set(history.trainers)
    for item in rounds:
        names |= {*item.contributed, *item.without}
    return tuple(
        SiteParticipation(
            site=site,
            contributed=tuple(item.round for item in rounds if site in item.contributed),
            absent=tuple(item.round for item in rounds if site in item.absent),
            excused=tuple(item.round for item in rounds if site in {excused.site for excused in item.excused}),
            rejected=tuple(item.round for item in rounds if site in {rejected.site for rejected in item.rejected}),
            late=tuple(item.round for item in rounds if site in item.late),
        )
        for site in sorted(names)
    )

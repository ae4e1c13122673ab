"""Which members sent their update in the newest rounds: one row per round, one place per member."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fedcli.exchange import layout
from fedcli.exchange.history.global_scores import global_kappas

if TYPE_CHECKING:
    from datetime import datetime

    from fedcli.exchange.history import History
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.records import ClosingRecord, Restart

NUM_ROUNDS = 12


class UpdateState(StrEnum):
    """What has become of a member's update of a round."""

    IN = "in"
    AWAITED = "awaited"
    ABSENT = "absent"
    EXCUSED = "excused"
    REJECTED = "rejected"
    LATE = "late"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRound:
    """One member in one round.

    Attributes:
        standing: In; awaited; absent, excused, rejected or late when the round was closed; outside if it was not a member yet.
        kappa: Validation kappa of its own trained model, if its update has arrived.
        since: Since when it is awaited.
        reason: Why it was excused or rejected.
    """

    site: str
    standing: UpdateState
    kappa: float | None = None
    since: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRow:
    """One round with all members.

    Attributes:
        created: When it was published; null for the open round.
        kappa: Patient-weighted mean of the sites' validation kappa of its global model.
        sites: The members, in the order of their names; none in round 0.
        restart: The earlier round whose model it has again, and why; null for the open round and for one of training.
    """

    round: int
    created: datetime | None
    kappa: float | None
    sites: tuple[MemberRound, ...]
    restart: Restart | None = None

    def members(self, state: UpdateState) -> tuple[str, ...]:
        """Return the members whose update is in this state."""
        return tuple(item.site for item in self.sites if item.standing is state)


def members_of(ledger: Ledger, number: int) -> tuple[str, ...]:
    """Return the members that train in a round, sorted."""
    return ledger.in_force(number).record.trainers


def newest_rounds(ledger: Ledger, history: History, members: tuple[str, ...], opened: int | None) -> tuple[RoundRow, ...]:
    """Return the newest rounds, ascending.

    Args:
        ledger: Says who was a member when.
        history: What the drop folder contains.
        members: The members to show.
        opened: The open round, which is the last row; None if there is none.
    """
    num_published = NUM_ROUNDS - (opened is not None)
    kappas = global_kappas(history)
    rows = [_published(history, number, members, kappas[number]) for number in range(len(kappas))[-num_published:]]
    if opened is not None:
        admitted = _admissions(ledger, opened)
        sites = tuple(_in_open_round(history, opened, site, admitted[site]) for site in members)
        rows.append(RoundRow(round=opened, created=None, kappa=None, sites=sites))
    return tuple(rows)


def _published(history: History, number: int, members: tuple[str, ...], global_kappa: float | None) -> RoundRow:
    record = history.rounds[number].record
    used = {item.site for item in record.contributions}
    rejected = {item.site: item.reason for item in record.rejected}
    excused = {item.site: item.reason for item in record.excused}

    def member_round(site: str) -> MemberRound:
        update = history.updates.get((site, number))
        kappa = update.record.trained.kappa if update else None
        if site in used:
            return MemberRound(site=site, standing=UpdateState.IN, kappa=kappa)
        if site in rejected:
            return MemberRound(site=site, standing=UpdateState.REJECTED, kappa=kappa, reason=rejected[site])
        if site in record.without:
            away = UpdateState.EXCUSED if site in excused else UpdateState.ABSENT
            standing = UpdateState.LATE if update else away
            return MemberRound(site=site, standing=standing, kappa=kappa, reason=excused.get(site, ""))
        return MemberRound(site=site, standing=UpdateState.OUTSIDE)

    return RoundRow(
        round=number,
        created=record.created,
        kappa=global_kappa,
        sites=tuple(map(member_round, members)) if number else (),
        restart=record.restart,
    )


def _in_open_round(history: History, opened: int, site: str, admitted: datetime) -> MemberRound:
    if (closing := history.closings.get(opened)) and (standing := _after_closing(history, closing.record, site)):
        return standing
    if update := history.updates.get((site, opened)):
        return MemberRound(site=site, standing=UpdateState.IN, kappa=update.record.trained.kappa)
    key = layout.update(site, opened)
    for problem in history.problems:
        if problem.key == key:
            return MemberRound(site=site, standing=UpdateState.REJECTED, reason=problem.message)
    since = max(history.rounds[-1].record.created, admitted)
    return MemberRound(site=site, standing=UpdateState.AWAITED, since=since)


def _after_closing(history: History, closing: ClosingRecord, site: str) -> MemberRound | None:
    """Return what has become of a member of a masked round that is closed; None where its update is in and it has answered."""
    if site in closing.sites:
        answered = (site, closing.round) in history.unmasks
        return None if answered else MemberRound(site=site, standing=UpdateState.AWAITED, since=closing.created)
    for item in closing.rejected:
        if item.site == site:
            return MemberRound(site=site, standing=UpdateState.REJECTED, reason=item.reason)
    excused = next((item.reason for item in closing.excused if item.site == site), "")
    return MemberRound(site=site, standing=UpdateState.EXCUSED if excused else UpdateState.ABSENT, reason=excused)


def _admissions(ledger: Ledger, opened: int) -> dict[str, datetime]:
    """Return when each member of the open round was last admitted."""
    admitted: dict[str, datetime] = {}
    for record in (item.record for item in ledger.federations if item.record.from_round <= opened):
        admitted = {member.site: admitted.get(member.site, record.created) for member in record.members}
    return admitted

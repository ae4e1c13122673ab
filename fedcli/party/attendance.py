"""Who took part in the newest rounds: one row a round, one place a member."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import TYPE_CHECKING

from fedcli.exchange import layout

if TYPE_CHECKING:
    from datetime import datetime

    from fedcli.exchange.history import History
    from fedcli.exchange.ledger import Ledger

NUM_ROUNDS = 12


class Standing(StrEnum):
    """How a member stands in a round."""

    IN = "in"
    AWAITED = "awaited"
    ABSENT = "absent"
    REJECTED = "rejected"
    LATE = "late"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """One member in one round.

    Attributes:
        standing: In; awaited; absent, rejected or late when it was closed; or outside, where it was no member yet.
        kappa: Validation kappa of its own trained model, where its update is there.
        since: Since when it is awaited.
        reason: Why it was rejected.
    """

    site: str
    standing: Standing
    kappa: float | None = None
    since: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPresence:
    """One round and every member's part in it.

    Attributes:
        created: When it was published; null for the open round.
        kappa: Patient-weighted mean of the sites' validation kappa of its global model.
        sites: The members, in the order of their names; none in round 0.
    """

    round: int
    created: datetime | None
    kappa: float | None
    sites: tuple[Presence, ...]

    def those(self, standing: Standing) -> tuple[str, ...]:
        """Return the members that stand so."""
        return tuple(item.site for item in self.sites if item.standing is standing)


def members_of(ledger: Ledger, number: int) -> tuple[str, ...]:
    """Return the members of a round, sorted."""
    return tuple(member.site for member in ledger.in_force(number).record.members)


def matrix_of(ledger: Ledger, history: History, members: tuple[str, ...], opened: int | None) -> tuple[RoundPresence, ...]:
    """Return the newest rounds, ascending.

    Args:
        ledger: Who was a member when.
        history: What the drop folder holds.
        members: Whose part is shown.
        opened: The open round, which is the last row; None where there is none.
    """
    published = NUM_ROUNDS - (opened is not None)
    kappas = history.global_kappas()
    found = [_published(ledger, history, number, members, kappas[number]) for number in range(len(kappas))[-published:]]
    if opened is not None:
        sites = tuple(_now(ledger, history, opened, site) for site in members)
        found.append(RoundPresence(round=opened, created=None, kappa=None, sites=sites))
    return tuple(found)


def _published(
    ledger: Ledger, history: History, number: int, members: tuple[str, ...], global_kappa: float | None
) -> RoundPresence:
    record = history.rounds[number].record
    used = {item.site for item in record.contributions}
    reasons = {item.site: item.reason for item in record.rejected}
    absent = set(members_of(ledger, number)) - used - set(reasons)

    def part(site: str) -> Presence:
        update = history.updates.get((site, number))
        kappa = update.record.trained.kappa if update else None
        if site in used:
            return Presence(site=site, standing=Standing.IN, kappa=kappa)
        if site in reasons:
            return Presence(site=site, standing=Standing.REJECTED, kappa=kappa, reason=reasons[site])
        if site in absent:
            return Presence(site=site, standing=Standing.LATE if update else Standing.ABSENT, kappa=kappa)
        return Presence(site=site, standing=Standing.OUTSIDE)

    return RoundPresence(
        round=number,
        created=record.created,
        kappa=global_kappa,
        sites=tuple(map(part, members)) if number else (),
    )


def _now(ledger: Ledger, history: History, opened: int, site: str) -> Presence:
    """Return a member's part in the open round."""
    if update := history.updates.get((site, opened)):
        return Presence(site=site, standing=Standing.IN, kappa=update.record.trained.kappa)
    key = layout.update(site, opened)
    for problem in history.problems:
        if problem.key == key:
            return Presence(site=site, standing=Standing.REJECTED, reason=problem.message)
    since = max(history.rounds[-1].record.created, _admitted(ledger, opened, site))
    return Presence(site=site, standing=Standing.AWAITED, since=since)


def _admitted(ledger: Ledger, opened: int, site: str) -> datetime:
    """Return when a member of the open round became one, for the last time."""
    newest_first = (found.record for found in reversed(ledger.federations) if found.record.from_round <= opened)
    return [
        record.created for record in takewhile(lambda item: any(member.site == site for member in item.members), newest_first)
    ][-1]

"""Whose turn it is in the open round of a plan that masks, read from what a drop folder contains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.exchange.masking.masked_rounds import least_participants
from fedcli.privacy.masking.shamir import threshold

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.records import FederationRecord, OpeningRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedTurn:
    """The step that a masked round is at.

    Attributes:
        awaited: Sites whose `train-round` does the next step.
        ready: Whether the coordinator's `aggregate` can go on without waiting for them.
        occasion: What the sites are awaited for; empty where that is an update.
    """

    awaited: tuple[str, ...]
    ready: bool
    occasion: str = ""


def masked_turn(ledger: Ledger, history: History, number: int, *, overdue: bool) -> MaskedTurn:
    """Return whose turn it is in the open round.

    Args:
        ledger: Says who is a member.
        history: What the drop folder contains.
        number: The open round.
        overdue: Whether its deadline has passed.
    """
    force = ledger.in_force(number)
    opening = history.openings.get(number)
    if opening is None:
        covered = {site for (site, _), item in history.masks.items() if item.record.covers(number, force.digest)}
        awaited = tuple(site for site in force.record.trainers if site not in covered)
        return _turn(force.record, len(covered), awaited, overdue=overdue, occasion="the round waits for your masks")
    if number in history.closings:
        return _answers(history, number, force.record)
    awaited = tuple(site for site in opening.record.sites if not _has_sent(history, site, opening))
    return _turn(force.record, len(opening.record.sites) - len(awaited), awaited, overdue=overdue)


def _turn(federation: FederationRecord, count: int, awaited: tuple[str, ...], *, overdue: bool, occasion: str = "") -> MaskedTurn:
    needed = max(least_participants(federation), federation.plan.aggregation.quorum if awaited else 0)
    return MaskedTurn(awaited=awaited, ready=count >= needed and (overdue or not awaited), occasion=occasion)


def _has_sent(history: History, site: str, opening: Verified[OpeningRecord]) -> bool:
    update = history.updates.get((site, opening.record.round))
    return update is not None and update.record.opening == opening.digest


def _answers(history: History, number: int, federation: FederationRecord) -> MaskedTurn:
    survivors = history.closings[number].record.sites
    awaited = tuple(site for site in survivors if (site, number) not in history.unmasks)
    ready = len(survivors) - len(awaited) >= threshold(len(federation.trainers))
    return MaskedTurn(awaited=() if ready else awaited, ready=ready, occasion="the round is closed, and waits for your answer")

"""The coordinator amends the federation: a new federation record, in force from a later round."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.exchange.records import MAX_MEMBERS
from fedcli.exchange.store.listing import is_there
from fedcli.party.party import publication

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fedcli.exchange.records import FederationRecord, Member, PublicKey
    from fedcli.exchange.signatures import Signer
    from fedcli.party.party import Party
    from fedcli.plan import Plan


def first_round(party: Party, concerned: Iterable[str]) -> int:
    """Return the first round under an amendment that concerns these sites.

    That is the open round, unless one of them has already sent its update, which was made under the record in force now, or the
    opening of a masked round has named its participants, or a region has summed the round. A site that hides its folder counts as
    having sent.
    """
    ledger = party.ledger
    opened = ledger.newest_round + 1
    decided = layout.sum_record(opened) if party.plan.tree.above else layout.opening(opened)
    sent = party.store.stat(decided) is not None or any(
        is_there(party.store, layout.update(site, opened), if_hidden=True) for site in concerned
    )
    return max(opened + sent, ledger.newest_federation.from_round)


def sorted_members(members: Iterable[Member]) -> tuple[Member, ...]:
    """Return members as a federation record lists them.

    Raises:
        UsageError: There are too many.
    """
    listed = tuple(sorted(members, key=lambda item: item.site))
    if len(listed) > MAX_MEMBERS:
        msg = f"{len(listed)} sites, expected at most {MAX_MEMBERS} in one federation"
        raise UsageError(msg)
    return listed


def amend_federation(
    party: Party,
    from_round: int,
    *,
    plan: Plan | None = None,
    members: Iterable[Member] | None = None,
    coordinator: tuple[PublicKey, ...] | None = None,
    reason: str | None = None,
) -> FederationRecord:
    """Publish the next federation record, the newest one with the given changes, and return it.

    Raises:
        UsageError: There would be too many members.
    """
    ledger = party.ledger
    newest = ledger.newest_federation
    listed = sorted_members(newest.members if members is None else members)
    record = replace(
        newest,
        federation=ledger.identity,
        created=party.environment.clock(),
        versions=party.versions(),
        number=newest.number + 1,
        previous=ledger.federations[-1].digest,
        from_round=from_round,
        coordinator=coordinator or newest.coordinator,
        members=listed,
        plan=plan or newest.plan,
        reason=reason,
    )
    key = layout.federation(record.number)
    party.commit(party.outbox.draft(f"federation-{record.number:04d}"), publication(key, record))
    party.folder.synchronise()
    return party.ledger.newest_federation


def recover_federation(
    party: Party,
    number: int,
    recovery: Signer,
    *,
    coordinator: tuple[PublicKey, ...] | None = None,
    successor: PublicKey | None = None,
) -> None:
    """Publish the federation record by which the recovery key replaces the coordinator's keys or itself, from the open round on.

    It keeps the members and the plan of the open round: what was to change them from a later round is to be amended again.

    Args:
        party: The coordinator.
        number: The record's number: the next one, or that of a record that it takes the place of.
        recovery: The recovery key.
        coordinator: The coordinator's new keys; None keeps them.
        successor: The next recovery key; None keeps this one.
    """
    ledger = party.ledger
    earlier, replaced = ledger.federations[:number], ledger.federations[number : number + 1]
    from_round = min([ledger.newest_round + 1, *(item.record.from_round for item in replaced)])
    before = [item.record for item in earlier if item.record.from_round <= from_round][-1]
    record = replace(
        before,
        federation=ledger.identity,
        created=party.environment.clock(),
        versions=party.versions(),
        number=number,
        previous=earlier[-1].digest,
        from_round=from_round,
        coordinator=coordinator or before.coordinator,
        recovery=successor or before.recovery,
        reason=None,
    )
    key = layout.recovery(number)
    party.commit(party.outbox.draft(f"federation-{number:04d}"), publication(key, record), signer=recovery)

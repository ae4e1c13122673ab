"""Grants: a party that can open sealed files wraps their content keys for somebody new; the files do not change."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fedcli.errors import SealedError, TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.history.best_round import best_round
from fedcli.exchange.recipients import readers
from fedcli.exchange.records import MOST_GRANTED, Granted, GrantRecord, Role
from fedcli.exchange.succession import newest_seen
from fedcli.party.history.history_reader import read_history
from fedcli.party.party import publication
from fedcli.party.transfer.opening import place_of, read_grants
from fedcli.party.transfer.outgoing import box

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.recipients import Reader
    from fedcli.exchange.records import Artifact, FederationRecord, Record
    from fedcli.party.party import Party


def grant_models(party: Party, reader: Reader) -> int:
    """Grant a new member the models that it works with: φ(0), the best and the newest global model, and the newest shared ones.

    Returns:
        How many files it can open now and could not open before.
    """
    history, _ = read_history(party.folder)
    return _grant(party, reader, _models(history))


def grant_everything(party: Party, reader: Reader) -> int:
    """Grant somebody every file that this party can open; return how many that are more than before."""
    _, reading = read_history(party.folder)
    return _grant(party, reader, reading.records)


def _models(history: History) -> list[Verified[Record]]:
    numbers = {0, best_round(history).round, len(history.rounds) - 1}
    rounds: list[Verified[Record]] = [history.rounds[number] for number in sorted(numbers)]
    return rounds + [shared for _, shared in sorted(history.models.items())]


def grant_newcomers(party: Party, federation: FederationRecord) -> None:
    """Grant those whom only a later federation record lists what was sealed under this one.

    Args:
        party: The coordinator.
        federation: The record under which the newest round was sealed.
    """
    newest = party.ledger.newest_federation
    if not newest.plan.confidentiality.sealing or newest.number == federation.number:
        return
    before = {reader.digest for reader in readers(federation, Role.MODEL, layout.COORDINATOR)}
    auditors = {item.public_key for item in newest.plan.confidentiality.auditors}
    for reader in readers(newest, Role.MODEL, layout.COORDINATOR):
        if reader.digest not in before and reader.party != layout.COORDINATOR:
            (grant_everything if reader.key in auditors else grant_models)(party, reader)


def _grant(party: Party, reader: Reader, owners: Iterable[Verified[Record]]) -> int:
    """Grant what this party has not granted yet; what others say that they have granted does not count."""
    grants = (grant.record for grant in read_grants(party.folder))
    own = (record for record in grants if (record.party, record.key) == (party.name, reader.digest))
    granted = {item.stored_sha256 for record in own for item in record.granted}
    wrapped = [
        wrapped
        for owner in owners
        for artifact in owner.artifacts
        if artifact.stored_sha256 not in granted and (wrapped := _wrapped(party, reader, owner, artifact)) is not None
    ]
    for first in range(0, len(wrapped), MOST_GRANTED):
        _publish(party, reader, tuple(wrapped[first : first + MOST_GRANTED]))
    return len(wrapped)


def _wrapped(party: Party, reader: Reader, owner: Verified[Record], artifact: Artifact) -> Granted | None:
    """Return what opens a file for the reader; None where it opens already, or this party cannot open it.

    A key that was granted to this party is passed on once it has opened the file: a grant can lie.
    """
    opening, encryption = party.folder.opening, artifact.encryption
    if opening is None or encryption is None or any(item.key == reader.digest for item in encryption.recipients):
        return None
    try:
        first = next(opening.content_keys(owner, artifact))
        key = party.folder.artifacts.content_key(owner, artifact) if first.granted else first.key
    except SealedError:
        return None
    except (TrustError, UnreadableError) as error:
        party.environment.progress.event(f"not granted to {reader.party}: {error}")
        return None
    wrapped = box(reader.key, key, place_of(owner, artifact))
    return Granted(artifact=artifact.key, stored_sha256=artifact.stored_sha256, wrapped=wrapped)


def _publish(party: Party, reader: Reader, granted: tuple[Granted, ...]) -> None:
    number = layout.free_number(0, partial(layout.grant, party.name), party.store.stat)
    record = GrantRecord(
        federation=party.ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(),
        number=number,
        as_of=party.ledger.newest_round,
        seen=newest_seen(party.ledger.rounds),
        recipient=reader.party,
        key=reader.digest,
        granted=granted,
    )
    party.commit(party.outbox.draft(f"grant-{number:04d}"), publication(layout.grant(party.name, number), record))

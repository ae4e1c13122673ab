"""The ledger's part for masked rounds: takes signed bytes, and returns verified masks, openings, closings and answers.

The checks are those of the ledger, in its order. No I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.checks import check_artifacts, expect, listed_keys
from fedcli.exchange.keys import verify_keys
from fedcli.exchange.masking.masked_rounds import least_participants
from fedcli.exchange.recipients import check_readers
from fedcli.exchange.records import ClosingRecord, MasksRecord, OpeningRecord, Role, UnmaskRecord
from fedcli.exchange.succession import check_seen
from fedcli.privacy.masking.mask_file import masks_layout
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from fedcli.exchange.checks import Signed, Verified
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.records import FederationRecord


def verify_masks(ledger: Ledger, site: str, number: int, signed: Signed) -> Verified[MasksRecord]:
    """Verify a site's record of prepared masks; the key is one of the federation record that it names.

    Raises:
        TrustError: It does not verify.
    """
    listing = [item.record for item in ledger.federations if site in item.record.trainers]
    verified = ledger.open_signed(signed, MasksRecord, site, listed_keys(site, listing or [ledger.newest_federation]))
    record = verified.record
    expect(signed, "number", number, record.number)
    check_seen(signed, record, ledger.rounds)
    force = federation_of(ledger, record)
    if force is None or site not in force.trainers:
        msg = f"{signed.key}: {site} does not train under the federation record {record.federation_record[:SHORT_DIGEST]}"
        raise TrustError(msg)
    ledger.open_signed(signed, MasksRecord, site, listed_keys(site, [force]))
    expect(signed, "aggregation.masking of the plan", expected=True, actual=force.plan.aggregation.masking)
    check_artifacts(signed, record.artifacts, force, Role.MASKS)
    size = masks_layout(len(force.trainers), record.num_rounds).size
    expect(signed, "artifact's content size", size, record.artifacts[0].content_size)
    check_readers(signed, record.artifacts, site, [force])
    return verified


def federation_of(ledger: Ledger, record: MasksRecord) -> FederationRecord | None:
    """Return the federation record whose members have the shares of these masks; None if the ledger has none."""
    return next((item.record for item in ledger.federations if item.digest == record.federation_record), None)


def verify_opening(ledger: Ledger, number: int, signed: Signed) -> Verified[OpeningRecord]:
    """Verify the opening of a round; the ledger must hold the round before.

    Raises:
        TrustError: It does not verify.
    """
    force = ledger.in_force(number)
    verified = ledger.open_signed(signed, OpeningRecord, layout.COORDINATOR, verify_keys(force.record.coordinator))
    record = verified.record
    expect(signed, "round", number, record.round)
    expect(signed, "parent round", ledger.rounds[number - 1].digest, record.parent)
    expect(signed, "federation record in force", force.digest, record.federation_record)
    expect(signed, "aggregation.masking of the plan", expected=True, actual=force.record.plan.aggregation.masking)
    excused = {item.site for item in record.excused}
    expect(signed, "participants that are excused", [], sorted(excused & set(record.sites)))
    if strangers := sorted(({*record.sites} | excused) - set(force.record.trainers)):
        msg = f"{signed.key}: {strangers[0]} does not train in round {number}"
        raise TrustError(msg)
    _require_enough(signed, len(record.sites), "participants", force.record)
    return verified


def verify_closing(ledger: Ledger, opening: Verified[OpeningRecord], signed: Signed) -> Verified[ClosingRecord]:
    """Verify the closing of a round: it names every member that trains once, and as survivors only participants.

    Raises:
        TrustError: It does not verify.
    """
    number = opening.record.round
    force = ledger.in_force(number).record
    verified = ledger.open_signed(signed, ClosingRecord, layout.COORDINATOR, verify_keys(force.coordinator))
    record = verified.record
    expect(signed, "round", number, record.round)
    expect(signed, "opening", opening.digest, record.opening)
    expect(signed, "sites named", force.trainers, record.named)
    if strangers := sorted(set(record.sites) - set(opening.record.sites)):
        msg = f"{signed.key}: {strangers[0]} does not take part in round {number}, says {opening.key}"
        raise TrustError(msg)
    _require_enough(signed, len(record.sites), "survivors", force)
    return verified


def verify_unmask(
    ledger: Ledger, site: str, opening: Verified[OpeningRecord], closing: Verified[ClosingRecord], signed: Signed
) -> Verified[UnmaskRecord]:
    """Verify a survivor's answer: a share, or a complaint, for each participant in the order of the opening.

    Raises:
        TrustError: It does not verify.
    """
    number = opening.record.round
    verified = ledger.open_signed(signed, UnmaskRecord, site, listed_keys(site, [ledger.in_force(number).record]))
    record = verified.record
    expect(signed, "round", number, record.round)
    expect(signed, "closing", closing.digest, record.closing)
    if site not in closing.record.sites:
        msg = f"{signed.key}: {site} is no survivor of round {number}, and has nothing to answer"
        raise TrustError(msg)
    check_seen(signed, record, ledger.rounds)
    participants = opening.record.sites
    expect(signed, "number of shares", len(participants), len(record.shares))
    lacking = [name for name, share in zip(participants, record.shares, strict=True) if share is None]
    expect(signed, "complaints", lacking, [item.dealer for item in record.complaints])
    return verified


def _require_enough(signed: Signed, count: int, what: str, federation: FederationRecord) -> None:
    if count < (least := least_participants(federation)):
        msg = f"{signed.key}: {count} {what}, expected at least {least} of {len(federation.trainers)}"
        raise TrustError(msg)

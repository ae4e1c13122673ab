"""The records of masked rounds as a party reads them from the drop folder, each verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import MissingError, TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.masking.masking_ledger import federation_of, verify_closing, verify_masks, verify_opening, verify_unmask
from fedcli.privacy.masking.mask_file import masks_layout, read_masks
from fedcli.privacy.masking.mask_keys import check_public_key
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import ClosingRecord, MasksRecord, OpeningRecord, UnmaskRecord
    from fedcli.party.folder import Folder
    from fedcli.privacy.masking.mask_file import PublishedMasks
    from fedcli.privacy.masking.share_boxes import RoundCommitments


def read_opening(folder: Folder, number: int) -> Verified[OpeningRecord] | None:
    """Return the opening of a round; None if there is none.

    Raises:
        TrustError: It does not verify.
    """
    try:
        signed = folder.read(layout.opening(number))
    except MissingError:
        return None
    return verify_opening(folder.ledger, number, signed)


def read_closing(folder: Folder, opening: Verified[OpeningRecord]) -> Verified[ClosingRecord] | None:
    """Return the closing of a round; None if there is none.

    Raises:
        TrustError: It does not verify, or closes another opening.
    """
    try:
        signed = folder.read(layout.closing(opening.record.round))
    except MissingError:
        return None
    return verify_closing(folder.ledger, opening, signed)


def read_unmask(
    folder: Folder, site: str, opening: Verified[OpeningRecord], closing: Verified[ClosingRecord]
) -> Verified[UnmaskRecord] | None:
    """Return a site's answer to a closing; None if there is none.

    Raises:
        TrustError: It does not verify.
    """
    try:
        signed = folder.read(layout.unmask(site, opening.record.round))
    except MissingError:
        return None
    return verify_unmask(folder.ledger, site, opening, closing, signed)


def masks_records(folder: Folder, site: str, digest: str | None = None) -> Iterator[Verified[MasksRecord]]:
    """Yield the masks records of a site that verify, the newest first; or the one of a digest, however old it is."""
    prefix = f"{layout.prefix(site)}masks/"
    keys = folder.store.list_each([prefix], folder.ledger.bounds.files)[prefix].keys
    if digest is not None:
        keys = layout.signed_as(keys, (digest,))
    for number in reversed(layout.numbers(keys, f"{prefix}{{}}.json")[-folder.ledger.bounds.series :]):
        try:
            verified = verify_masks(folder.ledger, site, number, folder.read(layout.masks(site, number)))
        except (TrustError, MissingError, UnreadableError):
            continue
        if digest in {None, verified.digest}:
            yield verified


def masks_for(folder: Folder, site: str, number: int) -> Verified[MasksRecord] | None:
    """Return the newest masks of a site that cover a round under the federation record in force; None if there are none."""
    force = folder.ledger.in_force(number).digest
    return next((item for item in masks_records(folder, site) if item.record.covers(number, force)), None)


def published_masks(folder: Folder, masks: Verified[MasksRecord]) -> PublishedMasks:
    """Return what a site has published about its secrets, with public keys that nobody can know the masks of.

    Raises:
        SealedError: The file is sealed to others.
        TrustError: The file is not what its record says, or has such a key.
    """
    federation = federation_of(folder.ledger, masks.record)
    if federation is None:
        msg = f"{masks.key}: made under a federation record that is not trusted here"
        raise TrustError(msg)
    expected = masks_layout(len(federation.trainers), masks.record.num_rounds)
    published = read_masks(folder.artifacts.fetch(masks, masks.artifact, expected))
    for item in published.commitments:
        check_public_key(masks.record.party, item.public_key)
    return published


def participants_masks(folder: Folder, opening: Verified[OpeningRecord]) -> dict[str, Verified[MasksRecord]]:
    """Return the masks record of every participant of a round.

    Raises:
        TrustError: One does not verify, or does not cover the round.
    """
    number, force = opening.record.round, opening.record.federation_record
    records = {}
    for item in opening.record.participants:
        masks = next(masks_records(folder, item.site, item.masks), None)
        if masks is None or not masks.record.covers(number, force):
            found = "does not cover the round" if masks is not None else "does not verify, or is missing"
            msg = f"{opening.key}: the masks record {item.masks[:SHORT_DIGEST]} of {item.site} {found}"
            raise TrustError(msg)
        records[item.site] = masks
    return records


def commitments_of(folder: Folder, opening: Verified[OpeningRecord]) -> dict[str, RoundCommitments]:
    """Return what every participant has published about its secrets of a round.

    Raises:
        SealedError: A file is sealed to others.
        TrustError: A record or file does not hold.
    """
    number = opening.record.round
    return {
        site: published_masks(folder, masks).commitments[number - masks.record.first_round]
        for site, masks in participants_masks(folder, opening).items()
    }

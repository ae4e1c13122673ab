"""A site's masked update of a round: which masks cover it, and its file.

The workspace remembers under which opening it made which update (`state/round-0005/masked.json`): one that did not make it does
not answer for it.
"""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from fedcli import disk, tensors
from fedcli.party.aggregation_input import num_threads
from fedcli.party.masking.masking_files import commitments_of, masks_records, read_closing, read_opening
from fedcli.party.masking.own_masks import kept_secrets
from fedcli.privacy.masking.mask_keys import pair_mask, self_mask
from fedcli.privacy.masking.masked_delta import masked_blocks
from fedcli.wire import STRICT, Digest

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.party.party import Party
    from fedcli.privacy.masking.mask_keys import Mask

MADE = "masked.json"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class MadeUpdate:
    """What a workspace remembers of a masked update: digests of the opening and of the update record."""

    opening: Digest
    update: Digest


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class RoundMasks:
    """What covers a site's update of a round.

    Attributes:
        opening: Digest of the opening record.
        masks: The site's own, and one for each other participant.
        num_members: K.
    """

    opening: str
    masks: tuple[Mask, ...]
    num_members: int


def reason_not_to_mask(party: Party, number: int) -> str:
    """Return why this site makes no update in the open round, or an empty text.

    Raises:
        TrustError: The opening or the closing does not verify.
    """
    opening = read_opening(party.folder, number)
    if opening is None:
        return f"{party.name} has prepared its masks for round {number}; it is the coordinator's turn to open the round"
    if party.name not in opening.record.sites:
        return f"{party.name} takes no part in round {number}, which was opened without its masks"
    if is_closed(party, number):
        return f"{party.name} takes no part in round {number}, which was closed before its update was there"
    masks = next(masks_records(party.folder, party.name, opening.record.masks_of(party.name)), None)
    if masks is None or kept_secrets(party, masks, number) is None:
        return (
            f"{party.name} takes no part in round {number}: the secrets of the masks that its opening names are not in this "
            "workspace, or were used for an update that is gone"
        )
    return ""


def is_closed(party: Party, number: int) -> bool:
    """Tell whether the closing of a round is published: an update that is not there by then is discarded."""
    opening = read_opening(party.folder, number)
    return opening is not None and read_closing(party.folder, opening) is not None


def round_masks(party: Party, number: int) -> RoundMasks:
    """Return what covers this site's update of the open round; `reason_not_to_mask` must have found none.

    Raises:
        TrustError: The masks of a participant do not hold.
    """
    opening = read_opening(party.folder, number)
    own = next(masks_records(party.folder, party.name, opening.record.masks_of(party.name)), None) if opening else None
    secrets = kept_secrets(party, own, number) if own is not None else None
    if opening is None or secrets is None:
        raise AssertionError(number)
    masks = [self_mask(secrets.seed, party.name, opening.digest)]
    for peer, published in commitments_of(party.folder, opening).items():
        if peer != party.name:
            masks.append(pair_mask(secrets.private_key, party.name, peer, published.public_key, opening.digest))
    num_members = len(party.ledger.in_force(number).record.trainers)
    return RoundMasks(opening=opening.digest, masks=tuple(masks), num_members=num_members)


def mask_file(plain: Path, target: Path, weight: int, masks: RoundMasks) -> Measured:
    """Write a delta, masked, to a new file, and remove the plain one.

    Raises:
        TrainingError: A value is too large to be summed.
    """
    with plain.open("rb") as file:
        layout = tensors.read_layout(file)
        blocks = masked_blocks(file, layout, weight, masks.num_members, masks.masks, threads=num_threads())
        content = disk.write_blocks(target, blocks)
    plain.unlink()
    return content


def made_update(party: Party, number: int) -> MadeUpdate | None:
    """Return what this workspace remembers of its masked update of a round; None if it made none."""
    return party.workspace.load(MadeUpdate, f"state/round-{number:04d}/{MADE}")

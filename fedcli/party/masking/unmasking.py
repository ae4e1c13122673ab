"""The sum of a masked round, without its masks: the same for the coordinator who publishes it and for everyone who replays it."""

from __future__ import annotations

import base64
import hashlib
from contextlib import ExitStack
from typing import TYPE_CHECKING

from fedcli import disk, tensors
from fedcli.disk import Measured
from fedcli.exchange.records import MAX_REFUSED_SHARES, Answer, Culprit, MaskedSum, RefusedShare
from fedcli.party.aggregation_input import num_threads, update_of
from fedcli.party.masking.masking_files import commitments_of
from fedcli.privacy.masking.restored_secrets import restore
from fedcli.privacy.masking.share_boxes import SecretKind
from fedcli.privacy.masking.unmasked_sum import MaskedUpdate, SumFacts, masks_to_remove, new_model_blocks, sums
from fedcli.privacy.masking.word_pieces import masked_layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from fedcli.aggregation.update import Update
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import ClosingRecord, OpeningRecord, UnmaskRecord, UpdateRecord
    from fedcli.party.folder import Folder
    from fedcli.plan import Plan
    from fedcli.privacy.masking.restored_secrets import RestoredSecrets
    from fedcli.tensors import Layout


def restored_secrets(
    folder: Folder,
    opening: Verified[OpeningRecord],
    closing: Verified[ClosingRecord],
    answers: Mapping[str, Verified[UnmaskRecord]],
) -> RestoredSecrets:
    """Return the secrets that answers restore, and whoever dealt or answered wrongly.

    Raises:
        SealedError: The masks of a participant are sealed to others.
        TrustError: They do not hold.
    """
    participants, survivors = opening.record.sites, closing.record.sites
    members = folder.ledger.in_force(opening.record.round).record.trainers
    kinds = {site: SecretKind.SEED if site in survivors else SecretKind.PRIVATE_KEY for site in participants}
    shares = {
        holder: {
            dealer: base64.b64decode(share)
            for dealer, share in zip(participants, item.record.shares, strict=True)
            if share is not None
        }
        for holder, item in answers.items()
    }
    return restore(members, kinds, commitments_of(folder, opening), shares)


def masked_sum(
    opening: Verified[OpeningRecord],
    closing: Verified[ClosingRecord],
    answers: Mapping[str, Verified[UnmaskRecord]],
    restored: RestoredSecrets,
) -> MaskedSum:
    """Return what a round record says of the answers used."""
    return MaskedSum(
        opening=opening.digest,
        closing=closing.digest,
        answers=tuple(Answer(site=site, unmask=item.digest) for site, item in sorted(answers.items())),
        refused_shares=tuple(
            RefusedShare(holder=item.holder, dealer=item.dealer) for item in restored.wrong_shares[:MAX_REFUSED_SHARES]
        ),
        culprits=tuple(Culprit(site=item.dealer, fault=item.fault) for item in restored.wrong_dealers),
    )


def unmasked_model(
    folder: Folder,
    opening: Verified[OpeningRecord],
    restored: RestoredSecrets,
    updates: Sequence[Verified[UpdateRecord]],
    base: Update,
    layout: Layout,
    target: Path | None,
) -> Measured:
    """Compute φ(t) in constant memory.

    Args:
        folder: The drop folder.
        opening: The round's.
        restored: Every secret that removes its masks.
        updates: The survivors'.
        base: φ(t-1).
        layout: That of the federation's models.
        target: Where φ(t) goes; None computes its size and digest only.

    Raises:
        SealedError: A file is sealed to others.
        TrustError: A file does not hold, or a value of φ(t) leaves its range.
    """
    plan: Plan = folder.ledger.in_force(opening.record.round).record.plan
    files = [update_of(folder, update, plan, masked_layout(layout)) for update in updates]
    commitments = commitments_of(folder, opening)
    survivors = {item.site for item in files}
    masks = masks_to_remove(
        {site: secret for site, secret in restored.secrets.items() if site in survivors},
        {site: secret for site, secret in restored.secrets.items() if site not in survivors},
        {site: item.public_key for site, item in commitments.items()},
        opening.digest,
    )
    counted = [item.weight * item.most_counted for item in files if item.most_counted is not None]
    facts = SumFacts(
        weight=sum(item.weight for item in files), num_updates=len(files), most_counted=sum(counted) if counted else None
    )
    with ExitStack() as stack:
        opened = [MaskedUpdate(item.site, stack.enter_context(item.path.open("rb"))) for item in files]
        before = stack.enter_context(base.path.open("rb"))
        tensors.read_layout(before)
        blocks = new_model_blocks(before, layout, sums(opened, layout, masks, threads=num_threads()), facts)
        return disk.write_blocks(target, blocks) if target is not None else _measured(blocks)


def _measured(blocks: Iterable[bytes]) -> Measured:
    hasher, size = hashlib.sha256(), 0
    for block in blocks:
        hasher.update(block)
        size += len(block)
    return Measured(size=size, sha256=hasher.hexdigest())

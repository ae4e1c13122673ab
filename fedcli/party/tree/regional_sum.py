"""What a region sums in a round: the weighted mean of its sites' updates, which becomes its own update in the federation above.

    Δ = float32(S / Σ n_k)                        with S of `aggregation.mean`; integers: floor(Σ n_k Δ_k / Σ n_k)

That is the fold of the updates from a model of zeros. So anyone who can open the updates recomputes it bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedcli.aggregation.fold import fold
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.update import Update
from fedcli.cohort import MAX_COUNT
from fedcli.errors import MissingError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.records import SumRecord, ValidationScore
from fedcli.exchange.tree.sum_ledger import verify_sum
from fedcli.party.aggregation_input import num_threads
from fedcli.party.party import publication
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.outbox import Draft
    from fedcli.exchange.records import Contribution, UpdateRecord
    from fedcli.party.folder import Folder
    from fedcli.party.party import Party
    from fedcli.party.received_updates import ReceivedUpdates
    from fedcli.plan import Aggregation
    from fedcli.tensors import Layout

_ZEROS = "zeros"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionalFigures:
    """What a region's update says of its sites' work.

    Attributes:
        steps: The sum of their steps.
        images: That of their training images, at most what a record can state; None if a site withholds them.
        patients: That of their training patients, likewise.
        received: The mean of their scores of φ(t-1), weighted by validation patients.
        trained: The mean of their scores of their own models, likewise.
    """

    steps: int
    images: int | None
    patients: int | None
    received: ValidationScore
    trained: ValidationScore


def regional_figures(records: Sequence[UpdateRecord]) -> RegionalFigures:
    """Return what a region says of the updates that it has summed."""
    return RegionalFigures(
        steps=sum(item.steps for item in records),
        images=_total([item.images for item in records]),
        patients=_total([item.patients for item in records]),
        received=_mean_score([item.received for item in records]),
        trained=_mean_score([item.trained for item in records]),
    )


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return min(sum(known), MAX_COUNT) if len(known) == len(counts) else None


def _mean_score(scores: Sequence[ValidationScore]) -> ValidationScore:
    """Return the patient-weighted mean of the stated kappas and of the stated losses, and the patients behind the kappa."""
    kappas = [(item.patients, item.kappa) for item in scores if item.kappa is not None]
    losses = [(item.patients, item.loss) for item in scores if item.loss is not None]
    kappa = _weighted(kappas)
    patients = sum(count for count, _ in kappas) if kappas else sum(item.patients for item in scores)
    return ValidationScore(
        patients=min(patients, MAX_COUNT), loss=_weighted(losses), kappa=max(-1.0, min(1.0, kappa)) if kappa is not None else None
    )


def _weighted(figures: Sequence[tuple[int, float]]) -> float | None:
    total = sum(count for count, _ in figures)
    return math.fsum(count * figure for count, figure in figures) / total if total else None


def mean_of(settings: Aggregation, expected: Layout, updates: Sequence[Update], folder: Path, target: Path | None) -> Measured:
    """Compute the weighted mean of updates.

    Args:
        settings: The plan's; its rule is the mean.
        expected: The layout of the models.
        updates: The updates, which have been folded into a model before, and are within the plan's limits.
        folder: Where a file of zeros can be made.
        target: Where the mean goes; None computes its size and digest only.
    """
    zeros = folder / _ZEROS
    with zeros.open("wb") as file:
        file.write(expected.header)
        file.truncate(expected.size)
    unlimited = [replace(update, most_counted=None) for update in updates]
    try:
        base = Update(site=layout.COORDINATOR, path=zeros)
        return fold(rule_of(settings), expected, base, unlimited, target, threads=num_threads(), reviewed=False).model
    finally:
        zeros.unlink()


def publish_sum(
    party: Party,
    draft: Draft,
    received: ReceivedUpdates,
    mean: Measured,
    contributions: tuple[Contribution, ...],
    base_norm: float | None,
) -> None:
    """Publish the record of what a region has summed in its open round."""
    ledger, number = party.ledger, party.ledger.newest_round + 1
    record = SumRecord(
        federation=ledger.identity,
        party=layout.COORDINATOR,
        created=party.environment.clock(),
        versions=party.versions(),
        round=number,
        parent=ledger.rounds[-1].digest,
        federation_record=ledger.in_force(number).digest,
        contributions=contributions,
        absent=received.absent,
        excused=received.excuses,
        rejected=received.rejections,
        base_norm=base_norm,
        content_size=mean.size,
        content_sha256=mean.sha256,
    )
    party.commit(draft, publication(layout.sum_record(number), record))


def read_sum(folder: Folder, number: int) -> Verified[SumRecord] | None:
    """Return the record of what a region has summed in a round; None if there is none.

    Raises:
        TrustError: It does not verify.
    """
    try:
        signed = folder.read(layout.sum_record(number))
    except MissingError:
        return None
    return verify_sum(folder.ledger, number, signed)


def summed_updates(folder: Folder, summed: Verified[SumRecord]) -> list[Verified[UpdateRecord]]:
    """Return the update records that a region has summed, in the order of their sites.

    Raises:
        TrustError: One is missing, does not verify, or is another one.
    """
    updates = []
    for item in summed.record.contributions:
        update = folder.update(item.site, summed.record.round)
        if update is None or update.digest != item.update:
            key = layout.update(item.site, summed.record.round)
            msg = f"{key}: missing, or not the update {item.update[:SHORT_DIGEST]} that {summed.key} names"
            raise TrustError(msg)
        updates.append(update)
    return updates

"""What an update claims of its work, held against the plan and against the facts that the site has published of its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import TrustError
from fedcli.plan import MAX_STEPS, Part
from fedcli.wire import SHORT_DIGEST

_GROWTH = 10
"""More than so many times the training images of a site's data set record before are unusual."""

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import DatasetRecord, UpdateRecord
    from fedcli.plan import Plan


def check_claims(key: str, record: UpdateRecord, plan: Plan) -> None:
    """Steps and weight are possible under the plan.

    Raises:
        TrustError: They are not.
    """
    if record.steps > plan.limits.steps:
        msg = f"{key}: {record.steps} steps, expected at most {plan.limits.steps}"
        raise TrustError(msg)
    weight = plan.aggregation.weight(record.steps, record.images, record.patients)
    if not 1 <= weight <= MAX_STEPS:
        msg = f"{key}: {weight} {plan.aggregation.weights}, expected 1 to {MAX_STEPS}"
        raise TrustError(msg)
    most = plan.training.epochs * plan.training.steps_per_epoch(record.images)
    if record.steps > most:
        msg = f"{key}: {record.steps} steps, expected at most {most}: with {record.images} images the plan takes no more"
        raise TrustError(msg)


def check_counts(update: Verified[UpdateRecord], dataset: Verified[DatasetRecord] | None) -> None:
    """Images and patients are those of the data set record that the update names.

    Raises:
        TrustError: They are not, or there is no such record.
    """
    named = update.record.dataset
    if named is not None and dataset is None:
        msg = f"{update.key}: names the data set record {named[:SHORT_DIGEST]}, which {update.record.party} has not published"
        raise TrustError(msg)
    if named is not None and dataset is not None and (difference := counts_differ(update.record, dataset)):
        msg = f"{update.key}: {difference}"
        raise TrustError(msg)


def counts_differ(record: UpdateRecord, dataset: Verified[DatasetRecord]) -> str:
    """Return how the training images and patients of an update differ from those of a data set record; else an empty text."""
    facts = dataset.record.cohort.part(Part.TRAIN)
    if (record.images, record.patients) == (facts.images, facts.patients):
        return ""
    return (
        f"{record.images} training images of {record.patients} patients, expected those of {dataset.key}: "
        f"{facts.images} of {facts.patients}"
    )


def growth(dataset: Verified[DatasetRecord], before: Verified[DatasetRecord]) -> str:
    """Return how far the training images of a data set have grown, if that is unusual; else an empty text."""
    images, earlier = (item.record.cohort.part(Part.TRAIN).images for item in (dataset, before))
    if images <= _GROWTH * earlier:
        return ""
    return f"{dataset.key} has {images} training images, {before.key} has {earlier}"

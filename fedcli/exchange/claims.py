"""What an update claims of its work, held against the plan and against the facts that the site has published of its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import TrustError
from fedcli.exchange.records import Payload
from fedcli.plan import MAX_STEPS, Part
from fedcli.plan.patient_privacy import steps_per_epoch
from fedcli.wire import SHORT_DIGEST

_GROWTH = 10
"""More than so many times the training images of a site's data set record before are unusual."""

_WITHHELD = ("images", "patients", "seconds", "training_loss")
"""What an update under a promise of privacy does not state, beside its norm, of which the record itself says so."""

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
    if plan.privacy.promised:
        _check_privacy(key, record, plan)
        return
    if record.privacy is not None:
        msg = f"{key}: states what it costs its patients, under a plan that promises them nothing"
        raise TrustError(msg)
    if record.payload is Payload.WEIGHTED_SUM:
        return  # of many sites under another plan: limits.steps is what bounds their steps
    if withheld := [what for what in ("images", "patients", "seconds") if getattr(record, what) is None]:
        msg = f"{key}: withholds {', '.join(withheld)}, which only an update under a promise of privacy does"
        raise TrustError(msg)
    most = plan.training.epochs * plan.training.steps_per_epoch(record.images or 0)
    if record.steps > most:
        msg = f"{key}: {record.steps} steps, expected at most {most}: with {record.images} images the plan takes no more"
        raise TrustError(msg)


def _check_privacy(key: str, record: UpdateRecord, plan: Plan) -> None:
    """The update was made as the plan promises: the same noise, clipping, divisor and δ, and as many steps as it plans."""
    claim, settings = record.privacy, plan.privacy
    if claim is None:
        msg = f"{key}: does not state what it costs its patients, expected {settings.guarantee}"
        raise TrustError(msg)
    if told := [what for what in _WITHHELD if getattr(record, what) is not None]:
        msg = f"{key}: states {', '.join(told)}, which an update under a promise of privacy withholds"
        raise TrustError(msg)
    steps = plan.training.epochs * steps_per_epoch(plan, claim.patients)
    facts = (
        ("noise", settings.noise, claim.noise),
        ("clipping", settings.clipping, claim.clipping),
        ("batch", settings.batch, claim.batch),
        ("delta", settings.delta, claim.delta),
        ("sampling_rate", settings.batch / claim.patients, claim.sampling_rate),
        ("steps", steps, claim.steps),
        ("steps", record.steps, claim.steps),
    )
    for what, expected, actual in facts:
        if expected != actual:
            claimed = f"{record.party} claims privacy.{what} {actual:g} in round {record.round}"
            msg = f"{key}: {claimed}, expected {expected:g} by the plan"
            raise TrustError(msg)
    if claim.epsilon > settings.epsilon:
        msg = f"{key}: {record.party} has spent epsilon {claim.epsilon:.4g}, expected at most the plan's {settings.epsilon:g}"
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
    """Return how the training images and patients of an update differ from those of a data set record; else an empty text.

    An update that withholds them differs from none.
    """
    facts = dataset.record.cohort.part(Part.TRAIN)
    if record.privacy is not None or (record.images, record.patients) == (facts.images, facts.patients):
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

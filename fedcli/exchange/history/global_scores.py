"""What the sites' validation kappas and losses say of each global model.

A site's word is bounded: it counts by no more patients than it has published, and no loss decides alone.
"""

from __future__ import annotations

from enum import StrEnum
from statistics import median_low
from types import MappingProxyType
from typing import TYPE_CHECKING

from fedcli.measures import Merit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedcli.exchange.history import History
    from fedcli.exchange.records import ValidationScore

NONE: Mapping[str, ValidationScore] = MappingProxyType({})
_MOST_MEDIANS = 2
"""No site counts by more than so many times the median of the sites' validation patients. Its loss is bounded likewise."""


class Weighting(StrEnum):
    """How the sites count in a mean: by the patients that they claim, by no more than they have published, or equally."""

    CLAIMED = "weighted by the validation patients that each site claims"
    BOUNDED = "weighted by validation patients, at most those of each site's data set record and twice their median"
    EQUAL = "each site counting the same, since not all have published a data set record"


def global_kappas(history: History) -> tuple[float | None, ...]:
    """Return each global model's mean of the sites' validation kappas, as `weighting_of` says; None if no site has one."""
    return tuple(merit.kappa for merit in global_merits(history))


def global_merits(history: History, final: Mapping[str, ValidationScore] = NONE) -> tuple[Merit, ...]:
    """Return the means of the sites' validation kappas and losses of each global model.

    The sites score φ(t) when they start round t + 1, and the last one when they evaluate.

    Args:
        history: The records.
        final: Scores of the newest global model by site, in place of those that the sites have published.
    """
    received: list[dict[str, ValidationScore | None]] = [{} for _ in history.rounds]
    finals: list[dict[str, ValidationScore | None]] = [{} for _ in history.rounds]
    for (site, number), update in sorted(history.updates.items()):
        received[number - 1][site] = update.record.received
    for site, evaluation in sorted(history.evaluations.items()):
        if evaluation.record.as_of < len(finals):
            finals[evaluation.record.as_of][site] = evaluation.record.final_validation
    if finals:
        finals[-1] |= final
    every = (scores or last for scores, last in zip(received, finals, strict=True))
    known = ({site: score for site, score in scores.items() if score is not None} for scores in every)
    weighting = weighting_of(history)  # it looks at all updates, and is the same for all rounds
    return tuple(_merit(history, weighting, scores) for scores in known)


def weighting_of(history: History) -> Weighting:
    """Return how the sites count in the mean kappa of a global model."""
    if not history.plan.evaluation.bounded_weights:
        return Weighting.CLAIMED
    scoring = {site for (site, _), update in history.updates.items() if update.record.received.kappa is not None}
    return Weighting.BOUNDED if scoring <= history.datasets.keys() else Weighting.EQUAL


def _merit(history: History, weighting: Weighting, scores: Mapping[str, ValidationScore]) -> Merit:
    kappas = {site: (score.patients, score.kappa) for site, score in sorted(scores.items()) if score.kappa is not None}
    losses = {site: (score.patients, score.loss) for site, score in sorted(scores.items()) if score.loss is not None}
    if losses:
        most = _MOST_MEDIANS * median_low(loss for _, loss in losses.values())  # one site's 1e50 would decide
        losses = {site: (patients, min(loss, most)) for site, (patients, loss) in losses.items()}
    patients = sum(_patients(history, weighting, kappas).values())
    return Merit(kappa=_mean(history, weighting, kappas), loss=_mean(history, weighting, losses), patients=patients)


def _mean(history: History, weighting: Weighting, figures: Mapping[str, tuple[int, float]]) -> float | None:
    """Return the mean of the sites' figures, each with the number of validation patients behind it."""
    weights = _patients(history, weighting, figures) if weighting is not Weighting.EQUAL else dict.fromkeys(figures, 1)
    total = sum(weights.values())
    return sum(weights[site] * figure for site, (_, figure) in figures.items()) / total if total else None


def _patients(history: History, weighting: Weighting, figures: Mapping[str, tuple[int, float]]) -> dict[str, int]:
    """Return the validation patients behind each site's figure: claimed, and at most the bounds of the weighting."""
    claimed = {site: patients for site, (patients, _) in figures.items()}
    if weighting is Weighting.CLAIMED or not claimed:
        return claimed
    known = {site: history.validation_patients(site) for site in claimed} if weighting is Weighting.BOUNDED else claimed
    most = _MOST_MEDIANS * median_low(known.values())  # a record is its site's own word
    return {site: min(patients, known[site], most) for site, patients in claimed.items()}

"""The contents of a site's records as they are published: data set, update, evaluation, shared model."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fedcli.disclosure.levels import Level, level_of, published_figure, published_kappa
from fedcli.disclosure.matrix import figures_fit, hidden_cells, published_matrix
from fedcli.measures import Estimate, Metric

if TYPE_CHECKING:
    from fedcli.cohort import Cohort, Count, PartCount
    from fedcli.exchange.records import Comparison, TestScore, ValidationScore
    from fedcli.measures import Measures, PairedDifference

_KAPPAS = (Metric.KAPPA, Metric.QUADRATIC_KAPPA)


def published_validation(score: ValidationScore, level: Level) -> ValidationScore:
    """Return a model's score on validation patients, for an update or an evaluation."""
    return replace(score, loss=published_figure(score.loss, level), kappa=published_kappa(score.kappa, level))


def published_test(score: TestScore, patients: int, min_cell: int, *, cases_are_patients: bool) -> TestScore:
    """Return a model's score on test patients, for an evaluation.

    Args:
        score: As computed.
        patients: The test patients.
        min_cell: The plan's.
        cases_are_patients: Whether a case is a patient; a matrix of studies, or of images, is withheld as a whole.
    """
    level = level_of(patients, min_cell)
    if level is Level.ALL or not patients:
        return score
    matrix = score.by_case.confusion
    if level is Level.ROUNDED and (matrix is None or not figures_fit(matrix)):
        level = Level.KAPPAS
    cells = published_matrix(matrix, min_cell) if matrix and level is Level.ROUNDED and cases_are_patients else None
    return replace(
        score,
        loss=published_figure(score.loss, level),
        by_case=replace(_measures(score.by_case, level), confusion=cells),
        by_image=_measures(score.by_image, Level.NOTHING if level is Level.KAPPAS else level),
    )


def published_comparisons(
    comparisons: tuple[Comparison, ...], scores: tuple[TestScore, ...], min_cell: int
) -> tuple[Comparison, ...]:
    """Return the comparisons of models whose scores are published with two decimals; the p-value is rounded up."""
    if not min_cell:
        return comparisons
    rounded = {score.model.record for score in scores if score.by_case.accuracy.value is not None}
    return tuple(
        replace(item, result=_difference(item.result))
        for item in comparisons
        if {item.model.record, item.other.record} <= rounded and item.result.difference is not None
    )


def published_cohort(cohort: Cohort, training_patients: tuple[int, ...], min_cell: int) -> Cohort:
    """Return the facts of a site's data, for a data set record.

    The class counts of the training part are published, rounded, without small ones. Those of the
    validation and the test part are not: with them, fewer matrices would fit the scores.

    Args:
        cohort: As prepared.
        training_patients: Training patients of each class.
        min_cell: The plan's.
    """
    if not min_cell:
        return cohort
    train, *others = cohort.parts
    hidden = (None,) * len(training_patients)
    rejections = tuple(replace(item, files=-(-item.files // min_cell) * min_cell) for item in cohort.rejections)
    parts: Any = (_training(train, training_patients, min_cell), *(replace(part, class_images=hidden) for part in others))
    return replace(cohort, parts=parts, rejections=rejections)


def _difference(result: PairedDifference) -> PairedDifference:
    bounds = result.interval and (round(result.interval[0], 2), round(result.interval[1], 2))
    p_value = None if result.p_value is None else _rounded_up(result.p_value)
    return replace(result, difference=round(result.difference or 0.0, 2), interval=bounds, p_value=p_value)


def _rounded_up(p_value: float) -> float:
    """Return a p-value in hundredths, or in one digit below 0.01: of five sites, Holm's adjusted 5 × 0.01 is not below 0.05."""
    exact = Decimal(str(p_value))
    return float(exact.quantize(Decimal(1).scaleb(min(exact.adjusted(), -2)), rounding=ROUND_CEILING))


def _training(part: PartCount, patients: tuple[int, ...], min_cell: int) -> PartCount:
    masks = hidden_cells(np.array(patients), min_cell).tolist()
    if level_of(part.patients, min_cell) is not Level.ROUNDED:
        masks = [True] * len(patients)
    unit = min_cell * max(round(part.images / max(part.patients, 1)), 1)
    counts: tuple[Count | None, ...] = tuple(
        None if mask or images is None else max(unit, unit * round(images / unit))
        for images, mask in zip(part.class_images, masks, strict=True)
    )
    return replace(part, class_images=counts)


def _measures(measures: Measures, level: Level) -> Measures:
    estimates: dict[str, Any] = {metric.value: Estimate() for metric in Metric}
    if level is Level.ROUNDED:
        estimates = {metric.value: _estimate(metric, measures.estimate(metric), level) for metric in Metric}
    elif level is Level.KAPPAS:
        estimates[Metric.KAPPA.value] = Estimate(value=published_kappa(measures.kappa.value, level))
    return replace(measures, confusion=None, **estimates)


def _estimate(metric: Metric, estimate: Estimate, level: Level) -> Estimate:
    rounded = published_kappa if metric in _KAPPAS else published_figure
    bounds = estimate.interval and (rounded(estimate.interval[0], level), rounded(estimate.interval[1], level))
    return Estimate(value=rounded(estimate.value, level), interval=cast("tuple[float, float] | None", bounds))

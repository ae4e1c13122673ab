"""How a model did on a site's test patients, and how two models compare there: what a site may publish of them.

`learning` measures it, an evaluation record carries it, the report shows it. Nothing here belongs to one patient. What is
undefined is null, never NaN; docs/metrics.md defines every value and when it is undefined.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.cohort import Count
from fedcli.wire import STRICT

Value = Annotated[float, Field(ge=-1, le=1)]
Difference = Annotated[float, Field(ge=-2, le=2)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Metric(StrEnum):
    """What is measured; each is a field of `Measures`."""

    KAPPA = "kappa"
    QUADRATIC_KAPPA = "quadratic_kappa"
    ACCURACY = "accuracy"
    BALANCED_ACCURACY = "balanced_accuracy"
    MACRO_AUC = "macro_auc"
    DENSE_AUC = "dense_auc"
    CALIBRATION_ERROR = "calibration_error"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Estimate:
    """A value and its 95 % bootstrap interval by patient; each null where undefined."""

    value: Value | None = None
    interval: tuple[Value, Value] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Measures:
    """A model's agreement with the radiologists, over cases or over single images.

    Attributes:
        count: Cases, or images.
        kappa: Cohen's kappa with linear weights, the paper's.
        quadratic_kappa: Cohen's kappa with quadratic weights.
        accuracy: Share that is predicted right.
        balanced_accuracy: Mean recall over the classes that occur.
        macro_auc: Mean over all classes of the area under the ROC curve, each class against the others.
        dense_auc: The same of the plan's dense classes against the others.
        calibration_error: Expected calibration error of the most probable class.
        confusion: By true class (rows) and predicted class (columns). A cell, or the whole, is null where
            it is withheld.
    """

    count: Count
    kappa: Estimate
    quadratic_kappa: Estimate
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_auc: Estimate
    dense_auc: Estimate
    calibration_error: Estimate
    confusion: Annotated[tuple[tuple[Count | None, ...], ...], Field(max_length=64)] | None

    @model_validator(mode="after")
    def _square(self) -> Measures:
        if self.confusion is not None and any(len(row) != len(self.confusion) for row in self.confusion):
            msg = "a confusion matrix has as many columns as rows"
            raise ValueError(msg)
        return self

    def estimate(self, metric: Metric) -> Estimate:
        """Return one of the estimates by its name."""
        found: Estimate = getattr(self, metric.value)
        return found


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PairedDifference:
    """One model's linear weighted kappa less another's, on the same cases.

    Attributes:
        cases: Cases that both predicted.
        difference: Of the kappas; null where one of them is undefined.
        interval: Its 95 % bootstrap interval by patient; null where undefined.
        p_value: Two-sided, of the permutation test that the two models' predictions could be exchanged; null where undefined.
        permutations: Random exchanges behind the p-value.
    """

    cases: Count
    difference: Difference | None
    interval: tuple[Difference, Difference] | None
    p_value: Fraction | None
    permutations: Annotated[int, Field(ge=0, le=1_000_000)]


def withhold(found: Measures, min_cell: int, *, confusion: bool = True) -> Measures:
    """Return what may be published where small cells are not: figures to two decimals, and no small cell nor what gives it away.

    Cells of 1 to `min_cell` - 1 cases are null, and so are the next smallest, until at least two cells and `min_cell` cases are
    hidden: the number of cases is public, so that a single hidden cell could be told from the others. Two decimals, as the paper
    prints, since a kappa of full precision tells the matrix behind it.

    Args:
        found: What was measured.
        min_cell: The plan's; 0 publishes everything.
        confusion: Whether its cells count cases; a matrix of images, of which a person has several, is withheld whole.
    """
    if not min_cell:
        return found
    estimates: dict[str, Any] = {metric.value: _rounded(found.estimate(metric)) for metric in Metric}
    return replace(found, confusion=_hidden(found.confusion, min_cell) if confusion else None, **estimates)


def withhold_digits(found: PairedDifference, min_cell: int) -> PairedDifference:
    """Return a comparison as it may be published where small cells are not: to two decimals."""
    if not min_cell or found.difference is None:
        return found
    return replace(found, difference=round(found.difference, 2), interval=_two_decimals(found.interval))


def _rounded(found: Estimate) -> Estimate:
    return Estimate(value=None if found.value is None else round(found.value, 2), interval=_two_decimals(found.interval))


def _two_decimals(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (round(interval[0], 2), round(interval[1], 2))


def _hidden(confusion: tuple[tuple[Count | None, ...], ...] | None, min_cell: int) -> tuple[tuple[Count | None, ...], ...] | None:
    counts = sorted(count for row in confusion or () for count in row if count)
    small = sum(count < min_cell for count in counts)
    if not small:
        return confusion
    while (small < 2 or sum(counts[:small]) < min_cell) and small < len(counts):  # noqa: PLR2004 - one alone could be told
        small += 1
    limit = counts[small - 1]
    return tuple(tuple(None if count and count <= limit else count for count in row) for row in confusion or ())

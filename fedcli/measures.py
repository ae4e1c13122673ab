"""A model's results on a site's test patients, the comparison of two models there, and by what models are chosen.

All are in the form that a site may publish; none is about a single patient. `learning` computes them, records contain them, the
report shows them. An undefined value is null, never NaN; docs/metrics.md defines each value and when it is undefined.
"""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.cohort import Count
from fedcli.plan import MAX_CLASSES, Choice
from fedcli.wire import STRICT

if TYPE_CHECKING:
    from collections.abc import Sequence

Value = Annotated[float, Field(ge=-1, le=1)]
Difference = Annotated[float, Field(ge=-2, le=2)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Row = Annotated[tuple[Count | None, ...], Field(max_length=MAX_CLASSES, fail_fast=True)]

SMOOTHED_OVER = 3
"""Of so many candidates in succession, the kappas are averaged."""
_DECIMALS = 12


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
    """A value and its 95 % bootstrap interval over patients; null if undefined or withheld."""

    value: Value | None = None
    interval: tuple[Value, Value] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Measures:
    """A model's agreement with the radiologists, over cases or over single images.

    Attributes:
        count: Cases, or images.
        kappa: Cohen's kappa with linear weights, as in the paper.
        quadratic_kappa: Cohen's kappa with quadratic weights.
        accuracy: Share of right predictions.
        balanced_accuracy: Mean recall over the classes that occur.
        macro_auc: Mean over all classes of the area under the ROC curve, each class against the others.
        dense_auc: Area under the ROC curve of the plan's dense classes against the others.
        calibration_error: Expected calibration error of the most probable class.
        confusion: Counts by true class (rows) and predicted class (columns); a withheld cell, or matrix, is null.
    """

    count: Count
    kappa: Estimate
    quadratic_kappa: Estimate
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_auc: Estimate
    dense_auc: Estimate
    calibration_error: Estimate
    confusion: Annotated[tuple[Row, ...], Field(max_length=MAX_CLASSES, fail_fast=True)] | None

    @model_validator(mode="after")
    def _square(self) -> Measures:
        if self.confusion is not None and any(len(row) != len(self.confusion) for row in self.confusion):
            msg = "a confusion matrix has as many columns as rows"
            raise ValueError(msg)
        return self

    def estimate(self, metric: Metric) -> Estimate:
        """Return the estimate of a metric."""
        estimate: Estimate = getattr(self, metric.value)
        return estimate


def kappa_error(cases: int) -> float:
    """Return about one standard error of a linear weighted kappa of four classes: 1 / (2 √n)."""
    return 0.5 / math.sqrt(cases)


def smoothed(kappas: Sequence[float | None]) -> float:
    """Return the smoothed kappa of the newest of some candidates in succession: the mean of the last three, or of all if fewer.

    One that is undefined or withheld counts as 0. It is rounded, so that means of equal kappas are equal in any order.
    """
    return round(fmean(kappa or 0.0 for kappa in kappas[-SMOOTHED_OVER:]), _DECIMALS)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Merit:
    """By what a model is chosen: its figures on validation patients as they are published; null if undefined or withheld.

    Attributes:
        kappa: Linear weighted kappa, or a mean of kappas.
        loss: Mean cross-entropy, or a mean of losses.
        patients: How many were scored.
    """

    kappa: float | None
    loss: float | None
    patients: int = 0

    @property
    def known(self) -> bool:
        """Whether there is any figure."""
        return self.kappa is not None or self.loss is not None

    def judged(self, choice: Choice, smoothed_kappa: float | None) -> Merit:
        """Return the figures that a choice compares.

        Under "lowest-loss", all models with a loss have the same kappa, above that of any without one, whose own kappas count.
        """
        if choice is Choice.LOWEST_LOSS and self.loss is not None:
            return replace(self, kappa=2.0)
        return replace(self, kappa=smoothed_kappa) if choice is Choice.SMOOTHED else self

    @property
    def error(self) -> float:
        """About one standard error of the kappa."""
        return kappa_error(max(self.patients, 1))

    def is_near(self, highest: float) -> bool:
        """Tell whether the kappa is within its error of the highest one so far, or above; an undefined one counts as 0."""
        return (self.kappa or 0.0) >= highest - self.error

    def beats(self, best: Merit) -> bool:
        """Tell whether a newer candidate is chosen in place of the best so far, where the highest kappa counts.

        The higher kappa counts; an undefined one counts as 0, as that of a constant prediction. Of equal ones, the lower loss
        counts. Where no loss decides, the earlier candidate stays if its kappa is above 0; otherwise the newer one is chosen.
        """
        if not self._equals(best):
            return (self.kappa or 0.0) > (best.kappa or 0.0)
        if self.loss is None or best.loss is None:
            return (best.kappa or 0.0) <= 0
        return self.loss < best.loss

    def differs_by_loss(self, other: Merit) -> bool:
        """Tell whether only the losses tell these two apart."""
        return self._equals(other) and None not in {self.loss, other.loss} and self.loss != other.loss

    def _equals(self, other: Merit) -> bool:
        return (self.kappa or 0.0) == (other.kappa or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PairedDifference:
    """One model's linear weighted kappa minus another's, on the same cases.

    Attributes:
        cases: Number of cases.
        difference: Of the kappas; null if one of them is undefined.
        interval: Its 95 % bootstrap interval over patients; null if undefined.
        p_value: Of a two-sided permutation test that the two models' predictions are exchangeable; null if undefined.
        permutations: Random exchanges behind the p-value.
    """

    cases: Count
    difference: Difference | None
    interval: tuple[Difference, Difference] | None
    p_value: Fraction | None
    permutations: Annotated[int, Field(ge=0, le=1_000_000)]

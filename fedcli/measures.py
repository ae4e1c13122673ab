"""A model's results on a site's test patients, and the comparison of two models there, in the form that a site may publish.

`learning` computes them, an evaluation record contains them, the report shows them. None is about a single patient. An undefined
value is null, never NaN; docs/metrics.md defines each value and when it is undefined.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.cohort import Count
from fedcli.plan import MAX_CLASSES
from fedcli.wire import STRICT

Value = Annotated[float, Field(ge=-1, le=1)]
Difference = Annotated[float, Field(ge=-2, le=2)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Row = Annotated[tuple[Count | None, ...], Field(max_length=MAX_CLASSES, fail_fast=True)]


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

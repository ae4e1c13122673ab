"""What several sites' comparisons say together: Holm's correction, a pooled difference, and non-inferiority.

The pooled difference is the mean of a random-effects model: sites differ by more than chance, in patients and scanners.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from fedcli.reporting.formats import interval, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.exchange.records import ModelKind
    from fedcli.plan import Plan
    from fedcli.reporting.tables.comparisons import SiteComparison

_WIDTH_IN_ERRORS = 2 * 1.959964
"""A 95 % interval of a normal distribution has the width of so many standard errors."""


class Inferiority(StrEnum):
    """What a pooled difference says against the plan's margin; the values are as the report writes them."""

    EXCLUDED = "not inferior"
    OPEN = "open"
    SHOWN = "inferior"


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledDifference:
    """The difference of two models' kappas over all sites.

    Attributes:
        kind: The model.
        other: What it is compared with.
        sites: How many sites' differences are pooled.
        difference: Mean of the random-effects model.
        interval: Its 95 % interval.
        spread: Standard deviation of the true differences between sites.
        margin: By how much kappa the plan allows the model to be worse; 0 if it states no margin.
    """

    kind: ModelKind
    other: ModelKind
    sites: int
    difference: float
    interval: tuple[float, float]
    spread: float
    margin: float

    @property
    def pair(self) -> str:
        """Which kappa is subtracted from which."""
        return f"{self.kind.word} minus {self.other.word}"

    @property
    def inferiority(self) -> Inferiority | None:
        """Whether the model is worse by more than the margin; None without a margin."""
        if not self.margin:
            return None
        low, high = self.interval
        if low > -self.margin:
            return Inferiority.EXCLUDED
        return Inferiority.SHOWN if high < -self.margin else Inferiority.OPEN

    @property
    def sentence(self) -> str:
        """The pooled difference, and what it says against the margin, in words."""
        bounds = f"random-effects mean, 95\u00a0% interval of the difference {interval(self.interval)}"
        apart = f"{number(abs(self.difference))} {'higher' if self.difference > 0 else 'lower'} than"
        apart = apart if round(self.difference, 2) else "the same as"
        pooled = (
            f"Over {self.sites} sites, on their own test patients, the {self.kind.word} model's kappa is {apart} the "
            f"{self.other.word} model's ({bounds})."
        )
        margin = f"by more than the plan's margin of {number(self.margin)}"
        return {
            None: pooled,
            Inferiority.EXCLUDED: f"{pooled} It is not worse {margin}.",
            Inferiority.OPEN: f"{pooled} It is not shown whether it is worse {margin}.",
            Inferiority.SHOWN: f"{pooled} It is worse {margin}.",
        }[self.inferiority]


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values adjusted for their number, in the same order (Holm 1979).

    The k-th smallest of m counts m - k + 1 times, and never less than a smaller one does.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min((len(p_values) - rank) * p_values[index], 1.0))
        adjusted[index] = largest
    return tuple(adjusted)


def random_effects(differences: Sequence[float], errors: Sequence[float]) -> tuple[float, tuple[float, float], float]:
    """Pool differences of two or more sites.

    The variance between sites is DerSimonian and Laird's (1986). The interval is Hartung and Knapp's (2001), with Student's t,
    never narrower than the variances within the sites allow (Röver, Knapp and Friede 2015).

    Args:
        differences: One per site.
        errors: Their standard errors, above 0.

    Returns:
        The mean, its 95 % interval, and the standard deviation between sites.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - scipy takes a while to load

    values, variances = np.asarray(differences), np.square(errors)
    weights = 1 / variances
    fixed = (weights * values).sum() / weights.sum()
    heterogeneity = (weights * (values - fixed) ** 2).sum() - (len(values) - 1)
    between = max(0.0, heterogeneity / (weights.sum() - (weights**2).sum() / weights.sum()))
    weights = 1 / (variances + between)
    mean = (weights * values).sum() / weights.sum()
    inflation = max(1.0, (weights * (values - mean) ** 2).sum() / (len(values) - 1))
    half = stdtrit(len(values) - 1, 0.975) * math.sqrt(inflation / weights.sum())
    return float(mean), (float(mean - half), float(mean + half)), math.sqrt(between)


def pooled_differences(compared: Sequence[SiteComparison], plan: Plan) -> tuple[PooledDifference, ...]:
    """Pool each pair of models over the sites whose difference has an interval; a pair needs two of them."""
    margin = plan.evaluation.noninferiority_margin
    pairs = dict.fromkeys((item.kind, item.other) for item in compared)
    return tuple(
        pooled
        for pair in pairs
        if (pooled := _pooled([item for item in compared if (item.kind, item.other) == pair], margin)) is not None
    )


def _pooled(compared: list[SiteComparison], margin: float) -> PooledDifference | None:
    measured = [item for item in compared if item.result.difference is not None and item.result.interval is not None]
    if len(measured) < 2:  # noqa: PLR2004 - one site has nothing to be pooled with
        return None
    differences = [item.result.difference or 0.0 for item in measured]
    mean, bounds, spread = random_effects(differences, [_error(item) for item in measured])
    return PooledDifference(
        kind=measured[0].kind,
        other=measured[0].other,
        sites=len(measured),
        difference=mean,
        interval=bounds,
        spread=spread,
        margin=margin,
    )


def _error(item: SiteComparison) -> float:
    """Return the standard error behind a bootstrap interval, at least what one case that is one class off would change.

    Where both models predict the same, no resample differs, and the interval has no width; yet one more case could differ.
    """
    low, high = item.result.interval or (0.0, 0.0)
    return max((high - low) / _WIDTH_IN_ERRORS, 1 / max(item.result.cases, 1))

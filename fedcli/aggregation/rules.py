"""The aggregation rule of a plan: which updates take part, how they are averaged, and how the server moves the weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from fedcli import plan
from fedcli.aggregation.adaptive import Adaptive
from fedcli.aggregation.averaged import Averaged
from fedcli.aggregation.krum import Krum
from fedcli.aggregation.mean import WeightedMean
from fedcli.aggregation.median import Median
from fedcli.aggregation.momentum import Momentum
from fedcli.aggregation.trimmed_mean import TrimmedMean

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedcli.aggregation.server_state import Server


class Average(Protocol):
    """A rule that makes one value of the values of all sites in each coordinate."""

    def floats(self, deltas: NDArray[np.float32], weights: Sequence[int], step: NDArray[np.float64], /) -> None:
        """Make `step` one value for each column, (sites, elements) to (elements,)."""

    def integers(self, deltas: NDArray[Any], weights: Sequence[int], /) -> NDArray[Any]:
        """Return one value for each column of Python integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationRule:
    """How the updates of a round become one step of the model.

    Attributes:
        clip_norm: The largest norm of a delta; 0 clips none.
        krum: Chooses the updates that take part; None chooses all.
        trained_only: Whether both measure only trained weights.
        average: Makes the step.
        server: Makes another step of it for trained weights; None keeps it. Buffers always move by the step of `average`.
        least: The number of updates that the rule needs.
    """

    clip_norm: float = 0.0
    krum: Krum | None = None
    trained_only: bool = True
    average: Average = field(default_factory=WeightedMean)
    server: Server | None = None
    least: int = 1

    @property
    def weighted(self) -> bool:
        """Whether the step is the weighted mean of the updates that take part."""
        return isinstance(self.average, WeightedMean)


def rule_of(settings: plan.Aggregation) -> AggregationRule:
    """Return the plan's rule."""
    average: Average = WeightedMean()
    server: Server | None = None
    if settings.rule is plan.Rule.MEDIAN:
        average = Median()
    elif settings.rule is plan.Rule.TRIMMED_MEAN:
        average = TrimmedMean(trim=settings.trim)
    elif settings.rule is plan.Rule.MOMENTUM:
        server = Momentum(rate=settings.server_rate, momentum=settings.momentum)
    elif settings.rule in {plan.Rule.ADAM, plan.Rule.YOGI}:
        server = Adaptive(
            rate=settings.server_rate,
            beta1=settings.beta1,
            beta2=settings.beta2,
            tau=settings.tau,
            yogi=settings.rule is plan.Rule.YOGI,
        )
    elif settings.rule is plan.Rule.AVERAGED:
        server = Averaged(rounds=settings.averaged_rounds)
    krum = Krum(byzantine=settings.byzantine, keep=settings.keep) if settings.rule is plan.Rule.KRUM else None
    return AggregationRule(
        clip_norm=settings.clip_norm,
        krum=krum,
        trained_only=settings.norms is plan.Norms.TRAINED,
        average=average,
        server=server,
        least=settings.least,
    )

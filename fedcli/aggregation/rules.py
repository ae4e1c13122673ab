"""How K updates become one model, by the plan: clip, choose, average, and what the server makes of the average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fedcli import plan
from fedcli.aggregation.adaptive import Adaptive
from fedcli.aggregation.krum import Krum
from fedcli.aggregation.median import Median
from fedcli.aggregation.momentum import Momentum
from fedcli.aggregation.trimmed_mean import TrimmedMean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Columns(Protocol):
    """A rule that looks at all sites' values of one coordinate together."""

    def floats(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return one value for each column, (sites, elements) to (elements,)."""

    def integers(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one value for each column of Python integers."""


class Server(Protocol):
    """What the server makes of the weights' mean, with a memory of its own: float32 values, a few for each weight."""

    @property
    def state(self) -> tuple[tuple[str, float], ...]:
        """What the server remembers of each weight, in the order of its file, and where each begins."""

    def step(
        self, mean: NDArray[np.float64], state: tuple[NDArray[np.float32], ...]
    ) -> tuple[NDArray[np.float64], tuple[NDArray[np.float32], ...]]:
        """Return how far the weights move, and what the server remembers then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule; the weighted mean where nothing else is said.

    Attributes:
        clip_norm: The largest norm of a delta; 0 clips none.
        krum: Chooses the updates that take part; None takes all.
        columns: Takes the place of the weighted mean.
        server: Moves the weights by more than the mean; buffers always take the mean itself.
        least: Updates that the rule needs.
    """

    clip_norm: float = 0.0
    krum: Krum | None = None
    columns: Columns | None = None
    server: Server | None = None
    least: int = 1


def rule_of(settings: plan.Aggregation) -> Rule:
    """Return the plan's rule."""
    adaptive = settings.rule in {plan.Rule.ADAM, plan.Rule.YOGI}
    columns: Columns | None = None
    server: Server | None = None
    if settings.rule is plan.Rule.MEDIAN:
        columns = Median()
    elif settings.rule is plan.Rule.TRIMMED_MEAN:
        columns = TrimmedMean(trim=settings.trim)
    elif settings.rule is plan.Rule.MOMENTUM:
        server = Momentum(rate=settings.server_rate, momentum=settings.momentum)
    elif adaptive:
        server = Adaptive(
            rate=settings.server_rate,
            beta1=settings.beta1,
            beta2=settings.beta2,
            tau=settings.tau,
            yogi=settings.rule is plan.Rule.YOGI,
        )
    krum = Krum(byzantine=settings.byzantine, keep=settings.keep) if settings.rule is plan.Rule.KRUM else None
    return Rule(clip_norm=settings.clip_norm, krum=krum, columns=columns, server=server, least=settings.least)

"""Server momentum, FedAvgM (Hsu et al. 2019, "Measuring the Effects of Non-Identical Data Distribution").

    v(t) = β · v(t-1) + mean(t)      v(0) = 0
    φ(t) = φ(t-1) + η · v(t)

in float64. v(t) is rounded to float32 before it moves the model. η is `server_rate`, β is `momentum`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Momentum:
    """The rule."""

    rate: float
    momentum: float

    @property
    def state(self) -> tuple[tuple[str, float], ...]:
        """The values that the server keeps, with their initial value."""
        return (("momentum", 0.0),)

    def step(
        self, mean: NDArray[np.float64], state: tuple[NDArray[np.float32], ...]
    ) -> tuple[NDArray[np.float64], tuple[NDArray[np.float32], ...]]:
        """Return how far the weights move, and the values that the server keeps then."""
        (before,) = state
        velocity = (self.momentum * before.astype(np.float64) + mean).astype(np.float32)
        return self.rate * velocity.astype(np.float64), (velocity,)

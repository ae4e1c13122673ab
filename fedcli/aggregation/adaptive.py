"""FedAdam and FedYogi (Reddi et al. 2021, "Adaptive Federated Optimization", Algorithm 2).

    m(t) = β1 · m(t-1) + (1 - β1) · mean(t)                                           m(0) = 0
    v(t) = β2 · v(t-1) + (1 - β2) · mean(t)²                               FedAdam     v(0) = τ²
    v(t) = v(t-1) - (1 - β2) · mean(t)² · sign(v(t-1) - mean(t)²)          FedYogi     v(0) = τ²
    φ(t) = φ(t-1) + η · m(t) / (√v(t) + τ)

in float64, each operation rounded, from left to right; without bias correction, as in the paper. m(t) and v(t) are rounded to
float32, and it is the rounded ones that move the model. η is `server_rate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """The rules; `yogi` tells which."""

    rate: float
    beta1: float
    beta2: float
    tau: float
    yogi: bool

    @property
    def state(self) -> tuple[tuple[str, float], ...]:
        """What the server remembers of each weight, and where it begins."""
        return (("momentum", 0.0), ("variance", self.tau * self.tau))

    def step(
        self, mean: NDArray[np.float64], state: tuple[NDArray[np.float32], ...]
    ) -> tuple[NDArray[np.float64], tuple[NDArray[np.float32], ...]]:
        """Return how far the weights move, and what the server remembers then."""
        first, second = (values.astype(np.float64) for values in state)
        square = mean * mean
        fresh = np.float64(1 - self.beta2) * square
        after = second - fresh * np.sign(second - square) if self.yogi else np.float64(self.beta2) * second + fresh
        momentum = (np.float64(self.beta1) * first + np.float64(1 - self.beta1) * mean).astype(np.float32)
        variance = after.astype(np.float32)
        root = np.sqrt(variance.astype(np.float64)) + np.float64(self.tau)
        return np.float64(self.rate) * momentum.astype(np.float64) / root, (momentum, variance)

"""FedAdam and FedYogi (Reddi et al. 2021, "Adaptive Federated Optimization", Algorithm 2).

    m(t) = β1 · m(t-1) + (1 - β1) · mean(t)                                           m(0) = 0
    v(t) = β2 · v(t-1) + (1 - β2) · mean(t)²                               FedAdam     v(0) = τ²
    v(t) = v(t-1) - (1 - β2) · mean(t)² · sign(v(t-1) - mean(t)²)          FedYogi     v(0) = τ²
    φ(t) = φ(t-1) + η · m(t) / (√v(t) + τ)

in float64, each operation rounded, from left to right; without bias correction, as in the paper. m(t) and v(t) are rounded to
float32 before they move the model. η is `server_rate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """The rules: FedYogi where `yogi` is true, else FedAdam."""

    rate: float
    beta1: float
    beta2: float
    tau: float
    yogi: bool

    @property
    def state(self) -> tuple[tuple[str, float], ...]:
        """The values that the server keeps, with their initial values."""
        return (("momentum", 0.0), ("variance", self.tau * self.tau))

    def step(
        self, mean: NDArray[np.float64], state: tuple[NDArray[np.float32], ...]
    ) -> tuple[NDArray[np.float64], tuple[NDArray[np.float32], ...]]:
        """Return how far the weights move, and the values that the server keeps then."""
        m, v = (values.astype(np.float64) for values in state)
        square = mean * mean
        change = (1 - self.beta2) * square
        m = self.beta1 * m + (1 - self.beta1) * mean
        v = v - change * np.sign(v - square) if self.yogi else self.beta2 * v + change
        momentum, variance = m.astype(np.float32), v.astype(np.float32)
        step = self.rate * momentum.astype(np.float64) / (np.sqrt(variance.astype(np.float64)) + self.tau)
        return step, (momentum, variance)

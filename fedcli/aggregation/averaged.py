"""The uniform average of the last n models: what round t makes of φ(t-1), averaged with what the n - 1 rounds before it made.

    ψ(t) = φ(t-1) + mean(t)
    φ(t) = 1/n · Σ_{i=0..n-1} ψ(t-i)

n is `averaged_rounds`. Latest weight averaging (Kaddour 2022, "Stop Wasting My Time! Saving Days of ImageNet and BERT
Training with Latest Weight Averaging") takes such an average of a training's checkpoints; here the sites train from it. The
server keeps, in float32, how far the last models are from their average: e_k(t) = ψ(t-k+1) - φ(t) for k = 1 to n - 1. In
float64,

    movement  = (mean(t) + e_1(t-1) + … + e_(n-1)(t-1)) / n      summed from the left
    φ(t)      = φ(t-1) + movement
    e_1(t)    = mean(t) - movement
    e_(k+1)(t) = e_k(t-1) - movement                             e_k(0) = 0

The rounding of φ(t) to float32 is in no e_k, so that φ(t) differs from the average of the rounded ψ by about one such
rounding per round. Before round n there are fewer than n models; e_k(0) = 0 puts φ(0) in the place of those that are
missing. So the first round moves the model by 1/n of the mean, and φ(0) is averaged with the others until round n - 1. Where
the mean stays the same, the model comes to move by 2 / (n + 1) of it per round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Averaged:
    """The rule."""

    rounds: int

    @property
    def state(self) -> tuple[tuple[str, float], ...]:
        """The values that the server keeps, the newest model's first, with their initial value."""
        return tuple((f"difference_{age:02d}", 0.0) for age in range(1, self.rounds))

    def step(
        self, mean: NDArray[np.float64], state: tuple[NDArray[np.float32], ...]
    ) -> tuple[NDArray[np.float64], tuple[NDArray[np.float32], ...]]:
        """Return how far the weights move, and the values that the server keeps then."""
        ahead = [mean, *(difference.astype(np.float64) for difference in state)]
        total = mean.copy()
        for difference in ahead[1:]:
            total += difference
        movement = total / self.rounds
        return movement, tuple((difference - movement).astype(np.float32) for difference in ahead[:-1])

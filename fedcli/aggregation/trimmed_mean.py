"""The trimmed mean of every coordinate (Yin et al. 2018, "Byzantine-Robust Distributed Learning", Definition 2).

In each coordinate the `trim` smallest and the `trim` largest values are left out. The others are averaged: summed from the
smallest up, from +0.0, in float64, then divided by their number. Every site counts once, whatever its weight. Integers likewise,
exactly, with the mean floored. Buffers are treated like weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimmedMean:
    """The rule.

    Attributes:
        trim: The number of values that are left out at each end.
    """

    trim: int

    def floats(self, deltas: NDArray[np.float32], _weights: Sequence[int], step: NDArray[np.float64]) -> None:
        """Make `step` the trimmed mean of each column, (sites, elements) to (elements,)."""
        ordered = deltas.T.copy()
        ordered.sort(axis=1)
        step.fill(0.0)
        for number in range(self.trim, len(deltas) - self.trim):
            np.add(step, ordered[:, number], out=step)
        np.divide(step, np.float64(len(deltas) - 2 * self.trim), out=step)

    def integers(self, deltas: NDArray[Any], _weights: Sequence[int]) -> NDArray[Any]:
        """Return the floored trimmed mean of each column of Python integers."""
        ordered = np.sort(deltas, axis=0)[self.trim : len(deltas) - self.trim]
        return np.asarray(ordered.sum(axis=0) // len(ordered))

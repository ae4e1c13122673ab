"""The trimmed mean of every coordinate (Yin et al. 2018, "Byzantine-Robust Distributed Learning", Definition 2).

In each coordinate the `trim` smallest and the `trim` largest values are left out, and the others averaged: summed from the
smallest up, from +0.0, in float64, then divided by their number. Every site counts once, whatever its weight. Integers likewise,
exact, the mean floored. Buffers are treated as weights are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimmedMean:
    """The rule.

    Attributes:
        trim: Values left out at each end.
    """

    trim: int

    def floats(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the trimmed mean of each column, (sites, elements) to (elements,)."""
        ordered = np.sort(np.ascontiguousarray(rows.T), axis=1)
        total = np.zeros(rows.shape[1], np.float64)
        for number in range(self.trim, len(rows) - self.trim):
            np.add(total, ordered[:, number], out=total)
        return np.divide(total, np.float64(len(rows) - 2 * self.trim), out=total)

    def integers(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the floored trimmed mean of each column of Python integers."""
        ordered = np.sort(values, axis=0)[self.trim : len(values) - self.trim]
        return np.asarray(ordered.sum(axis=0) // len(ordered))

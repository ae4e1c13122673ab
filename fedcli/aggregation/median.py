"""The median of every coordinate (Yin et al. 2018, "Byzantine-Robust Distributed Learning", Definition 1).

Every site counts once, whatever its weight. For an even number of sites the two middle values are added and halved, in float64. A
negative zero counts as zero. Integers likewise, with the half floored. Buffers are treated like weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Median:
    """The rule."""

    def floats(self, deltas: NDArray[np.float32], _weights: Sequence[int], step: NDArray[np.float64]) -> None:
        """Make `step` the median of each column, (sites, elements) to (elements,)."""
        ordered = deltas.T.copy()
        ordered.sort(axis=1)
        low, high = _middle(len(deltas))
        np.add(ordered[:, low], ordered[:, high], out=step, dtype=np.float64)
        np.multiply(step, 0.5, out=step)
        np.add(step, 0.0, out=step)  # a negative zero becomes zero

    def integers(self, deltas: NDArray[Any], _weights: Sequence[int]) -> NDArray[Any]:
        """Return the floored median of each column of Python integers."""
        ordered = np.sort(deltas, axis=0)
        low, high = _middle(len(deltas))
        return np.asarray((ordered[low] + ordered[high]) // 2)


def _middle(count: int) -> tuple[int, int]:
    return (count - 1) // 2, count // 2

"""The median of every coordinate (Yin et al. 2018, "Byzantine-Robust Distributed Learning", Definition 1).

Every site counts once, whatever its weight. Of an even number the two middle values are added and halved, in float64. A negative
zero counts as zero. Integers likewise, the half floored. Buffers are treated as weights are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Median:
    """The rule."""

    def floats(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the median of each column, (sites, elements) to (elements,)."""
        ordered = np.sort(np.ascontiguousarray(rows.T), axis=1)
        low, high = _middle(len(rows))
        return (ordered[:, low].astype(np.float64) + ordered[:, high]) * 0.5 + 0.0

    def integers(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the floored median of each column of Python integers."""
        ordered = np.sort(values, axis=0)
        low, high = _middle(len(values))
        return np.asarray((ordered[low] + ordered[high]) // 2)


def _middle(count: int) -> tuple[int, int]:
    return (count - 1) // 2, count // 2

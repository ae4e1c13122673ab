"""Krum and multi-Krum (Blanchard et al. 2017, "Machine Learning with Adversaries"): only the updates closest to others take part.

    score_k = Σ ‖Δ_k - Δ_j‖²        over the K - f - 2 updates j that are nearest to k

f is the number of sites that may be dishonest. The `keep` updates with the lowest scores are chosen, of equal scores the first by
site name; the step is the weighted mean of the chosen ones (Krum itself has `keep` = 1). Distances run over the trained
weights, or over all float tensors where the plan says so: differences are rounded in float64, their squares summed as `squares`
defines, and the distances added from the smallest up. The guarantee of the paper holds for K ≥ 2f + 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fedcli.aggregation.engine.column_range import UNIT
from fedcli.aggregation.squares import add_in_order, unit_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.aggregation.engine.column_range import ColumnRange
    from fedcli.aggregation.engine.update_matrix import UpdateMatrix
    from fedcli.aggregation.server_state import TrainedElements

_TILE = 64
"""Updates whose differences from one update are taken at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Krum:
    """The rule.

    Attributes:
        byzantine: f, the number of sites that may be dishonest.
        keep: The number of updates that are chosen.
    """

    byzantine: int
    keep: int

    def choose(self, distances: NDArray[np.float64]) -> list[int]:
        """Return the numbers of the chosen updates, ascending, by the squared distances between all, (K, K)."""
        nearest = len(distances) - self.byzantine - 2
        scores = []
        for number, row in enumerate(distances):
            score = 0.0  # not by sum(), which compensates its rounding errors from Python 3.12 on
            for distance in sorted(np.delete(row, number).tolist())[:nearest]:
                score += distance
            scores.append((score, number))
        return sorted(number for _, number in sorted(scores)[: self.keep])


def squared_distances(matrix: UpdateMatrix, measured: TrainedElements | None) -> NDArray[np.float64]:
    """Return the squared distance between every two updates, (K, K), in one pass.

    Args:
        matrix: The updates.
        measured: The elements that count; None counts all.

    Raises:
        UpdateError: Updates are not finite, or not what their records say.
    """
    matrix.skip(matrix.integers)
    total = np.zeros((len(matrix), len(matrix)))
    matrix.run(matrix.floats, partial(_unit_distances, matrix, measured), partial(add_in_order, total))
    matrix.check_digests()
    return total + total.T


def _unit_distances(matrix: UpdateMatrix, measured: TrainedElements | None, columns: ColumnRange) -> NDArray[np.float64]:
    """Return the squared distances of a range from every update to the later ones, (K, K, units)."""
    rows = columns.rows
    matrix.require_finite(np.isfinite(rows).all(axis=1), columns)
    if measured is not None:
        measured.erase_others(rows, columns.first, columns.count)
    count, length = rows.shape
    sums = np.zeros((count, count, length // UNIT))
    units = max(1, _TILE // count)
    for begin in range(0, length // UNIT, units):
        part = rows[:, begin * UNIT : (begin + units) * UNIT]
        for first in range(count - 1):
            own = part[first].astype(np.float64)
            for second in range(first + 1, count, _TILE):
                others = part[second : second + _TILE].astype(np.float64)
                np.subtract(others, own, out=others)
                sums[first, second : second + _TILE, begin : begin + units] = unit_sums(others)
    return sums

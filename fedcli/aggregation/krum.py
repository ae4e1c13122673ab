"""Krum and multi-Krum (Blanchard et al. 2017, "Machine Learning with Adversaries"): the updates that lie closest to others.

A site's score is the sum of the squared distances to its K - f - 2 nearest others, f being the number of sites that may lie. The
`keep` lowest scores are chosen, of equal ones the first by name; the weighted mean of the chosen is the step (`keep` = 1: Krum
itself). Distances run over all float tensors, buffers included: differences rounded in float64, their squares summed as `squares`
states; the nearest distances are added from the smallest up. Krum's promise holds for K ≥ 2f + 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fedcli.aggregation.engine.columns import UNIT
from fedcli.aggregation.squares import add_in_order, unit_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.aggregation.engine.columns import Columns
    from fedcli.aggregation.engine.update_matrix import UpdateMatrix
    from fedcli.aggregation.update import Section

_TILE = 64
"""Rows whose differences from one row are taken at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Krum:
    """The rule.

    Attributes:
        byzantine: f, the number of sites that may lie.
        keep: Updates that are chosen.
    """

    byzantine: int
    keep: int

    def choose(self, distances: NDArray[np.float64]) -> list[int]:
        """Return the rows chosen, ascending, by their squared distances (K, K)."""
        nearest = len(distances) - self.byzantine - 2
        scores = []
        for number, row in enumerate(distances):
            score = 0.0
            for distance in sorted(np.delete(row, number).tolist())[:nearest]:
                score += distance
            scores.append((score, number))
        return sorted(number for _, number in sorted(scores)[: self.keep])


def squared_distances(matrix: UpdateMatrix, integers: Section | None, floats: Section | None) -> NDArray[np.float64]:
    """Return the squared distance between every two updates, (K, K), in one pass.

    Raises:
        UpdateError: Updates are not finite, or not what their records say.
    """
    matrix.skip(integers)
    count = len(matrix)
    total = np.zeros((count, count))
    matrix.run(floats, partial(_unit_distances, matrix), partial(add_in_order, total))
    matrix.check_digests()
    return total + total.T


def _unit_distances(matrix: UpdateMatrix, columns: Columns) -> NDArray[np.float64]:
    """Return the squared distances of a range from every row to the later ones, (K, K, units)."""
    rows = columns.rows
    matrix.require_finite(np.isfinite(rows).all(axis=1).tolist(), columns)
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

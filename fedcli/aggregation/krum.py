"""Krum and multi-Krum (Blanchard et al. 2017, "Machine Learning with Adversaries"): the updates that lie closest to others.

A site's score is the sum of the squared distances to its K - f - 2 nearest others, f being the number of sites that may lie. The
`keep` lowest scores are chosen, of equal ones the first by name; the weighted mean of the chosen is the step (`keep` = 1: Krum
itself). Distances run over all float tensors, buffers included: differences rounded in float64, their squares summed as `squares`
states; the nearest distances are added from the smallest up. Krum's promise holds for K ≥ 2f + 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedcli.aggregation.engine.stack import UNIT
from fedcli.aggregation.squares import add_in_order, unit_sums
from fedcli.aggregation.update import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.aggregation.engine.stack import Stack
    from fedcli.aggregation.engine.thread_pool import Crew
    from fedcli.tensors import Layout

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


def squared_distances(stack: Stack, layout: Layout, crew: Crew) -> NDArray[np.float64]:
    """Return the squared distance of every two rows, (K, K), in one pass.

    Raises:
        UpdateError: Updates are not finite, or not what their records say.
    """
    integers, floats = runs(layout)
    stack.pass_over(integers)
    count = len(stack.updates)
    total = np.zeros((count, count))
    if floats is not None:
        for first, last in stack.ranges(floats, together=True):
            rows = stack.read(range(count), floats, first, last)
            sums = np.zeros((count, count, -(-(last - first) // UNIT)))
            step = UNIT * max(1, _TILE // count)

            def work(number: int, rows: np.ndarray = rows, sums: np.ndarray = sums, step: int = step) -> None:
                begin = number * step
                found = sums[..., begin // UNIT : (begin + step) // UNIT]
                with np.errstate(all="ignore"):
                    _distances(rows[:, begin : begin + step], found)

            crew.each(-(-(last - first) // step), work)
            if not (finite := np.isfinite(rows).all(axis=1)).all():
                stack.refuse(np.flatnonzero(~finite).tolist(), floats, first, last)
            add_in_order(total, sums)
    stack.close_books()
    return total + total.T


def _distances(rows: NDArray[np.float32], into: NDArray[np.float64]) -> None:
    """Write the units' squared distances of every row to the later ones, (rows, rows, units)."""
    for number in range(len(rows) - 1):
        own = rows[number].astype(np.float64)
        for first in range(number + 1, len(rows), _TILE):
            others = rows[first : first + _TILE].astype(np.float64)
            np.subtract(others, own, out=others)
            into[number, first : first + _TILE] = unit_sums(others)

"""Norm clipping: no update moves the model further than C (the clipping of McMahan et al. 2018, Sun et al. 2019, without noise).

    s_k  = C / ‖Δ_k‖ where ‖Δ_k‖ > C, in float64; else 1
    Δ'_k = float32(float64(Δ_k) · s_k)

The norm is that of all float tensors together, buffers included: the square root of the sum that `squares` states. Integers are
left as they are. Every rule then sees the clipped deltas.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fedcli.aggregation.engine.stack import UNIT
from fedcli.aggregation.squares import add_in_order, unit_sums
from fedcli.aggregation.update import runs

if TYPE_CHECKING:
    from fedcli.aggregation.engine.stack import Stack
    from fedcli.aggregation.engine.thread_pool import Crew
    from fedcli.tensors import Layout

_BLOCK = 32 * UNIT


def norms(stack: Stack, layout: Layout, crew: Crew) -> list[float]:
    """Return every row's norm, in one pass.

    Raises:
        UpdateError: Updates are not finite, or not what their records say.
    """
    integers, floats = runs(layout)
    stack.pass_over(integers)
    total = np.zeros(len(stack.updates))
    if floats is not None:
        together = stack.together()
        for first, last in stack.ranges(floats, together=together):
            for group in stack.groups(together=together):
                rows = stack.read(group, floats, first, last)
                sums = np.empty((len(group), -(-(last - first) // UNIT)))

                def work(row: int, rows: np.ndarray = rows, sums: np.ndarray = sums) -> None:
                    with np.errstate(all="ignore"):
                        for begin in range(0, rows.shape[1], _BLOCK):
                            found = unit_sums(rows[row : row + 1, begin : begin + _BLOCK].astype(np.float64))
                            sums[row, begin // UNIT : begin // UNIT + found.shape[1]] = found[0]

                crew.each(len(group), work)
                if not (finite := np.isfinite(sums).all(axis=1)).all():
                    stack.refuse([group[int(row)] for row in np.flatnonzero(~finite)], floats, first, last)
                add_in_order(total[group.start : group.stop], sums)
    stack.close_books()
    return [math.sqrt(value) for value in total]


def scales(found: list[float], largest: float) -> list[float]:
    """Return what every row is multiplied by, so that no norm exceeds `largest`."""
    return [largest / norm if norm > largest else 1.0 for norm in found]

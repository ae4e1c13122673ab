"""Norm clipping: no update moves the model further than C (McMahan et al. 2018 and Sun et al. 2019, without their noise).

    s_k  = C / ‖Δ_k‖ where ‖Δ_k‖ > C, in float64; else 1
    Δ'_k = float32(float64(Δ_k) · s_k)

The norm is that of all trained weights together, or of all float tensors where the plan says so: the square root of the sum that
`squares` defines. Buffers are scaled with the weights; integers stay as they are. Every rule then sees the clipped deltas.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fedcli.aggregation.squares import add_in_order, unit_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.aggregation.engine.column_range import ColumnRange
    from fedcli.aggregation.engine.update_matrix import UpdateMatrix
    from fedcli.aggregation.server_state import TrainedElements


def norms(matrix: UpdateMatrix, measured: TrainedElements | None) -> list[float]:
    """Return the norm of every update, in one pass.

    Args:
        matrix: The updates.
        measured: The elements that count; None counts all.

    Raises:
        UpdateError: Updates are not finite, or not what their records say.
    """
    matrix.skip(matrix.integers)
    total = np.zeros(len(matrix))
    matrix.run(matrix.floats, partial(_unit_sums, matrix, measured), partial(add_in_order, total))
    matrix.check_digests()
    return [math.sqrt(value) for value in total]


def scales(norms: list[float], largest: float) -> list[float]:
    """Return what each update is multiplied by, so that no norm exceeds `largest`."""
    return [largest / norm if norm > largest else 1.0 for norm in norms]


def _unit_sums(matrix: UpdateMatrix, measured: TrainedElements | None, columns: ColumnRange) -> NDArray[np.float64]:
    """Return the sums of squares of a range, (updates, units)."""
    with np.errstate(all="ignore"):  # what is not finite is named afterwards
        if measured is not None:
            measured.erase_others(columns.rows, columns.first, columns.count)
        sums = np.concatenate([unit_sums(row[None].astype(np.float64)) for row in columns.rows])
    matrix.require_finite(np.isfinite(sums).all(axis=1), columns)
    return sums

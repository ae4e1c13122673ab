"""The norms of updates that are not folded, over trained weights as the fold would use them."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fedcli.aggregation import clipping
from fedcli.aggregation.engine.update_matrix import UpdateMatrix
from fedcli.aggregation.server_state import TrainedElements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedcli.aggregation.engine.column_range import ColumnRange
    from fedcli.aggregation.rules import AggregationRule
    from fedcli.aggregation.update import Update
    from fedcli.tensors import Layout


def trained_norms(rule: AggregationRule, layout: Layout, updates: Sequence[Update]) -> list[float]:
    """Return the norm of every update, in its order.

    Raises:
        UpdateError: Updates are not finite, or not what their records say.
    """
    opened = partial(UpdateMatrix, updates, layout, threads=1)
    scales, trained = [1.0] * len(updates), TrainedElements(layout)
    if rule.clip_norm:
        with opened() as matrix:
            scales = clipping.scales(clipping.norms(matrix, trained if rule.trained_only else None), rule.clip_norm)
    total = np.zeros(len(updates))
    with opened(scales=scales) as matrix:
        matrix.skip(matrix.integers)
        matrix.run(matrix.floats, partial(_squares, matrix, trained), partial(np.add, total, out=total))
        matrix.check_digests()
    return [math.sqrt(value) for value in total]


def _squares(matrix: UpdateMatrix, trained: TrainedElements, columns: ColumnRange) -> NDArray[np.float64]:
    counted, _ = trained.within(columns.first, columns.count)
    values = columns.rows[:, : columns.count][:, counted].astype(np.float64)
    squares = np.asarray(np.vecdot(values, values))
    matrix.require_finite(np.isfinite(squares), columns)
    return squares

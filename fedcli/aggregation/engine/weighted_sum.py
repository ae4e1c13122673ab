"""The sum Σ w_k · x_k of the rows of a matrix, in float64, one row after another, each multiplication and addition rounded.

`add_row_by_row` defines the sum. `weighted_sum` gives the same bits with one call of numpy's `einsum`, during which other threads
run; the three calls for each row make two threads wait for each other (see docs/decisions/0010). numpy does not promise in which
order `einsum` adds. So the first sum of a process compares both on an array whose sum depends on the order; if the bits differ,
rows are added one by one. The products must be exact: then fused operations of a processor change nothing.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def weighted_sum(rows: NDArray[np.float32], weights: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Make `out` the sum of all rows, (rows, elements) to (elements,); each product must be exact in float64."""
    if out.size > 1 and einsum_adds_row_by_row():  # einsum sums a single column in parts
        np.einsum("k,kn->n", weights, rows, out=out, dtype=np.float64, casting="safe")
    else:
        add_row_by_row(rows, weights, out)


def add_row_by_row(rows: NDArray[np.float32], weights: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Make `out` the sum of all rows from +0.0, with three calls of numpy for each row."""
    out.fill(0.0)
    product = np.empty_like(out)
    for row, weight in zip(rows, weights, strict=True):
        np.copyto(product, row)
        np.multiply(product, weight, out=product)
        np.add(out, product, out=out)


@cache
def einsum_adds_row_by_row() -> bool:
    """Tell whether this numpy's `einsum` gives the bits of `add_row_by_row`."""
    rows = np.sin(np.arange(5 * 9001, dtype=np.float32)).reshape(5, -1)  # longer than the pieces in which numpy converts
    weights = np.array([3, 1e8, 7, 12345, 1])
    expected = np.empty(rows.shape[1])
    add_row_by_row(rows, weights, expected)
    return np.array_equal(np.einsum("k,kn->n", weights, rows, dtype=np.float64, casting="safe"), expected)

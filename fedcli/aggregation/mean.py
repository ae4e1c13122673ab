"""The weighted mean of FederatedAveraging (McMahan et al. 2017; the study's Algorithm 1, line 9).

    S = Σ_k n_k · Δ_k        in float64, from +0.0, sites in bytewise order of their names
    mean = S / Σ n_k

Multiplication and addition are two IEEE operations each element, without BLAS. The products are exact while n_k < 2**29, so that
a processor that fuses the two rounds to the same bits. Integers: floor(Σ n_k Δ_k / Σ n_k), exact. So anyone can recompute the
model on any machine, whatever the order in which the updates arrived.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def total(
    sums: NDArray[np.float64], rows: NDArray[np.float32], weights: NDArray[np.float64], product: NDArray[np.float64]
) -> None:
    """Make S of all rows, (rows, elements), of at least one row; `product` is overwritten.

    One call of numpy instead of three for each row, so that threads wait less for Python's lock.
    """
    if sums.size > 1 and _einsum_adds_in_order():  # a single column would be summed in parts
        np.einsum("k,kn->n", weights, rows, out=sums, dtype=np.float64, casting="safe")
        return
    sums.fill(0.0)
    for row, weight in zip(rows, weights, strict=True):
        add(sums, row, weight, product)


def add(sums: NDArray[np.float64], row: NDArray[np.float32], weight: np.float64, product: NDArray[np.float64]) -> None:
    """Add n_k · Δ_k to S; a weight of 0 leaves the row out. `product` is overwritten."""
    if weight:
        np.copyto(product, row)  # by itself: a product of mixed types would be converted piece by piece
        np.multiply(product, weight, out=product)
        np.add(sums, product, out=sums)


def divide(sums: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
    """Make the mean of S; the weights are whole numbers, so that their sum is exact."""
    np.divide(sums, weights.sum(), out=sums)


def integers(values: NDArray[Any], weights: Sequence[int]) -> NDArray[Any]:
    """Return the floored mean of Python integers, (rows, elements) to (elements,)."""
    total = np.zeros(values.shape[1], object)
    for row, weight in zip(values, weights, strict=True):
        if weight:
            total = total + row * weight
    return np.asarray(total // sum(weights))


@cache
def _einsum_adds_in_order() -> bool:
    """Tell whether numpy's `einsum` adds row after row to each element, which it does and does not promise."""
    rows = np.sin(np.arange(5 * 9001, dtype=np.float32)).reshape(5, -1)  # longer than the pieces in which numpy converts
    weights = np.array([3, 1e8, 7, 12345, 1])
    expected = np.zeros(rows.shape[1])
    for row, weight in zip(rows.astype(np.float64), weights, strict=True):
        expected += row * weight
    return np.array_equal(np.einsum("k,kn->n", weights, rows, dtype=np.float64, casting="safe"), expected)

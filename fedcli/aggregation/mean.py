"""The weighted mean of FederatedAveraging (McMahan et al. 2017; the study's Algorithm 1, line 9).

    S = Σ_k n_k · Δ_k        in float64, from +0.0, sites in bytewise order of their names
    mean = S / Σ n_k

Multiplication and addition are two IEEE operations each element, without BLAS and without fused multiply-add; the products are
exact while n_k < 2**29. Integers: floor(Σ n_k Δ_k / Σ n_k), exact. So anyone can recompute the model on any machine, whatever the
order in which the updates arrived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def add(sums: NDArray[np.float64], row: NDArray[np.float32], weight: int, product: NDArray[np.float64]) -> None:
    """Add n_k · Δ_k to S; a weight of 0 leaves the row out. `product` is overwritten."""
    if weight:
        np.copyto(product, row)  # by itself: a product of mixed types would be converted piece by piece
        np.multiply(product, np.float64(weight), out=product)
        np.add(sums, product, out=sums)


def divide(sums: NDArray[np.float64], weights: Sequence[int]) -> None:
    """Make the mean of S."""
    np.divide(sums, np.float64(sum(weights)), out=sums)


def integers(values: NDArray[Any], weights: Sequence[int]) -> NDArray[Any]:
    """Return the floored mean of Python integers, (rows, elements) to (elements,)."""
    total = np.zeros(values.shape[1], object)
    for row, weight in zip(values, weights, strict=True):
        if weight:
            total = total + row * weight
    return np.asarray(total // sum(weights))

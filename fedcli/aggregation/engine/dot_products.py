"""Squared norms of the deltas, and their dot products with the step.

They decide no bit of the model. So BLAS may sum them in its own order: pieces of 1024 elements in float32, the pieces in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE = 1024
"""Elements of one dot product. BLAS starts no threads for so few, and a range has more than 500 of them: for fewer in one call
numpy would keep Python's global interpreter lock."""
_SAFE = (1e-30, 1e30)
"""Squared norms that float32 represents well; the dot products of other pieces are computed in float64."""


@dataclass(slots=True)
class DotProducts:
    """Sums over elements.

    Attributes:
        squares: Each delta's squared norm.
        products: Each delta's dot product with the step.
        step_square: The step's squared norm.
    """

    squares: NDArray[np.float64]
    products: NDArray[np.float64]
    step_square: float

    @classmethod
    def zeros(cls, num_deltas: int) -> DotProducts:
        """Return the sums over no elements."""
        return cls(np.zeros(num_deltas), np.zeros(num_deltas), 0.0)

    def add(self, other: DotProducts) -> None:
        """Add the sums over other elements."""
        self.squares += other.squares
        self.products += other.products
        self.step_square += other.step_square


def dot_products(deltas: NDArray[np.float32], step: NDArray[np.float64], count: int) -> DotProducts:
    """Return the sums over the first `count` columns of a range, (deltas, columns) and (columns,), filled up to whole pieces."""
    narrow = step[None].astype(np.float32)
    squares, products, step_squares = (
        _dots(left, right, count) for left, right in ((deltas, deltas), (deltas, narrow), (narrow, narrow))
    )
    for piece in np.flatnonzero(~(_safe(squares) & _safe(step_squares)).all(axis=0)):
        columns = slice(piece * PIECE, (piece + 1) * PIECE)
        values, along = deltas[:, columns].astype(np.float64), step[None, columns]
        squares[:, piece] = np.vecdot(values, values)
        products[:, piece] = np.vecdot(values, along)
        step_squares[:, piece] = np.vecdot(along, along)
    return DotProducts(squares.sum(axis=1), products.sum(axis=1), float(step_squares.sum()))


def _dots(left: NDArray[np.float32], right: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """Return the dot products of rows, piece by piece, (rows, pieces)."""
    pieces = (rows.reshape(len(rows), -1, PIECE) for rows in (left, right))
    sums = np.vecdot(*pieces).astype(np.float64)
    if rest := count % PIECE:
        sums[:, -1] = np.vecdot(left[:, count - rest : count], right[:, count - rest : count])
    return sums


def _safe(squares: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((squares > _SAFE[0]) & (squares < _SAFE[1]))

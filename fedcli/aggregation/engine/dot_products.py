"""Squared norms of the deltas, and their dot products with the step and with the direction that a review compares them with.

They decide no bit of the model. So BLAS may sum them in its own order: pieces of 1024 elements in float32, the pieces in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
        trained: The squared norms of φ(t-1) and of each delta, over trained elements only.
        along: Each delta's dot product with the direction, over trained elements only.
        direction_square: The direction's squared norm, likewise.
    """

    squares: NDArray[np.float64]
    products: NDArray[np.float64]
    step_square: float
    trained: NDArray[np.float64]
    along: NDArray[np.float64]
    direction_square: float

    @classmethod
    def zeros(cls, num_deltas: int) -> DotProducts:
        """Return the sums over no elements."""
        return cls(np.zeros(num_deltas), np.zeros(num_deltas), 0.0, np.zeros(1 + num_deltas), np.zeros(num_deltas), 0.0)

    def add(self, other: DotProducts) -> None:
        """Add the sums over other elements."""
        self.squares += other.squares
        self.products += other.products
        self.step_square += other.step_square
        self.trained += other.trained
        self.along += other.along
        self.direction_square += other.direction_square


def dot_products(
    rows: NDArray[np.float32],
    step: NDArray[np.float64],
    direction: NDArray[np.floating[Any]] | None,
    count: int,
    trained: NDArray[np.bool_] | None = None,
) -> DotProducts:
    """Return the sums over the first columns of a range.

    Args:
        rows: φ(t-1) and the deltas, (1 + deltas, columns), filled up to whole pieces.
        step: (columns,).
        direction: (columns,); 0 where an element is not trained; None leaves out what is compared with it.
        count: How many columns to sum.
        trained: Which of these are trained, (count,); None if all are.
    """
    deltas = rows[1:]
    squares = _dots(deltas, deltas, count)
    products, step_squares = _products(deltas, squares, step, count)
    along, direction_squares = np.zeros((len(deltas), 0)), np.zeros((1, 0))
    if direction is not None:
        along, direction_squares = _products(deltas, squares, direction, count)
    of_trained = _of_trained(rows, np.concatenate([_squares(rows[:1], count), squares]), trained)
    return DotProducts(
        squares=squares.sum(axis=1),
        products=products.sum(axis=1),
        step_square=float(step_squares.sum()),
        trained=of_trained.sum(axis=1),
        along=along.sum(axis=1),
        direction_square=float(direction_squares.sum()),
    )


def combined(parts: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sum of the rows, each multiplied by its part, piece by piece; (columns,)."""
    pieces = rows.reshape(len(rows), -1, PIECE).swapaxes(0, 1)
    sums: NDArray[np.float32] = np.matmul(parts[None, None], pieces)
    return sums.reshape(-1)


def _products(
    deltas: NDArray[np.float32], squares: NDArray[np.float64], vector: NDArray[np.floating[Any]], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the dot products of the deltas with a vector and the vector's squares, piece by piece.

    Where float32 does not hold them, they are computed in float64, and so are the deltas' `squares`.
    """
    narrow = vector[None].astype(np.float32, copy=False)
    products, vector_squares = _dots(deltas, narrow, count), _dots(narrow, narrow, count)
    for piece in np.flatnonzero(~(_safe(squares) & _safe(vector_squares)).all(axis=0)):
        columns = slice(piece * PIECE, (piece + 1) * PIECE)
        values, wide = deltas[:, columns].astype(np.float64), vector[None, columns].astype(np.float64)
        squares[:, piece] = np.vecdot(values, values)
        products[:, piece] = np.vecdot(values, wide)
        vector_squares[:, piece] = np.vecdot(wide, wide)
    return products, vector_squares


def _of_trained(
    rows: NDArray[np.float32], squares: NDArray[np.float64], trained: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """Return the squares of every piece over its trained elements: those with buffers among them are summed again."""
    if trained is None or trained.all():
        return squares
    counted = np.zeros(rows.shape[1], np.bool_)
    counted[: trained.size] = trained
    pieces = np.unique(np.flatnonzero(~trained) // PIECE)
    blocks = rows.reshape(len(rows), -1, PIECE)[:, pieces] * counted.reshape(-1, PIECE)[pieces]
    squares[:, pieces] = _squares(blocks.reshape(len(rows), -1), pieces.size * PIECE)
    return squares


def _squares(rows: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """Return the squared norms of rows, piece by piece, also where float32 does not hold them."""
    squares = _dots(rows, rows, count)
    if not np.isfinite(squares).all():
        wide = rows.astype(np.float64)
        squares = _dots(wide, wide, count)
    return squares


def _dots(left: NDArray[np.floating[Any]], right: NDArray[np.floating[Any]], count: int) -> NDArray[np.float64]:
    """Return the dot products of rows, piece by piece, (rows, pieces)."""
    pieces = (rows.reshape(len(rows), -1, PIECE) for rows in (left, right))
    sums = np.vecdot(*pieces).astype(np.float64)
    if rest := count % PIECE:
        sums[:, -1] = np.vecdot(left[:, count - rest : count], right[:, count - rest : count])
    return sums


def _safe(squares: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((squares > _SAFE[0]) & (squares < _SAFE[1]))

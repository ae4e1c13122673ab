"""Which cells of a confusion matrix are published: none that is small, and none from which a small one follows.

In every row at least two cells are withheld, so that no record states how many cases a class has. They are the smallest ones: all
with fewer than `min_cell` cases, zeros too, and more until they hold `min_cell` cases together. The rest is published only if at
least ten matrices fit: each has the same figures, rounded, and would be published in the same way.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MATRICES = 10
"""So many matrices must fit what is published."""
_TRIALS, _MOVED = 1 << 21, 4
"""Cells of the matrices that are tried, and how many cases are moved in each."""
_HIDDEN = 2
"""A single withheld cell of a row would follow from the row's sum."""

Confusion = tuple[tuple[int | None, ...], ...]


def published_matrix(matrix: Confusion, min_cell: int) -> Confusion | None:
    """Return a matrix with its withheld cells as None; None if it is withheld as a whole.

    Args:
        matrix: Complete; every case is a patient.
        min_cell: Above 0.
    """
    counts = np.array(matrix, np.int64)
    hidden = hidden_cells(counts, min_cell)
    if hidden.all() or len([*islice(fitting_matrices(counts, hidden, min_cell), MATRICES)]) < MATRICES:
        return None
    return tuple(
        tuple(None if mask else count for count, mask in zip(row, masks, strict=True))
        for row, masks in zip(matrix, hidden.tolist(), strict=True)
    )


def figures_fit(matrix: Confusion) -> bool:
    """Return whether at least ten matrices have the figures of this one, rounded to two decimals."""
    counts = np.array(matrix, np.int64)
    everything = np.ones(counts.shape, np.bool_)
    return len([*islice(fitting_matrices(counts, everything, 0), MATRICES)]) == MATRICES


def hidden_cells(counts: NDArray[np.int64], min_cell: int) -> NDArray[np.bool_]:
    """Return which cells of a table of counts are withheld, row by row."""
    order = np.argsort(counts, axis=-1, kind="stable")
    ascending = np.take_along_axis(counts, order, axis=-1)
    before = np.cumsum(ascending, axis=-1) - ascending
    hidden = np.zeros(counts.shape, np.bool_)
    np.put_along_axis(
        hidden, order, (ascending < min_cell) | (before < min_cell) | (np.arange(counts.shape[-1]) < _HIDDEN), axis=-1
    )
    return hidden


def fitting_matrices(counts: NDArray[np.int64], hidden: NDArray[np.bool_], min_cell: int) -> Iterator[NDArray[np.int64]]:
    """Yield different matrices with the same figures and published cells; up to four cases are in other withheld cells."""
    generator = np.random.default_rng(0)
    places = np.flatnonzero(hidden)
    shape = (max(_TRIALS // counts.size, 1), _MOVED)
    source, target = generator.choice(places[counts.ravel()[places] > 0], shape), generator.choice(places, shape)
    near = np.tile(counts.ravel(), (len(source), 1))
    rows = np.arange(len(source))[:, np.newaxis]
    np.subtract.at(near, (rows, source), 1)
    np.add.at(near, (rows, target), 1)
    near = near[(near >= 0).all(axis=1)].reshape(-1, *counts.shape)
    near = np.concatenate([counts[np.newaxis], near])
    same = near[(_figures(near) == _figures(counts[np.newaxis])).all(axis=1)]
    for matrix in np.unique(same, axis=0):
        if not min_cell or (hidden_cells(matrix, min_cell) == hidden).all():
            yield matrix


def _figures(matrices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what is published of R matrices, (R, 4): linear and quadratic kappa, accuracy and mean recall, in hundredths."""
    classes = np.arange(matrices.shape[1])
    rows, columns = matrices.sum(axis=2), matrices.sum(axis=1)
    total, hits = rows.sum(axis=1), np.diagonal(matrices, axis1=1, axis2=2)
    figures = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for power in (1, 2):
            weights = np.abs(classes[:, np.newaxis] - classes) ** power
            expected = ((rows @ weights) * columns).sum(axis=1)
            figures.append(np.maximum(1 - (weights * matrices).sum(axis=(1, 2)) * total / expected, 0))
        recalls = np.where(rows > 0, hits / rows, 0).sum(axis=1) / (rows > 0).sum(axis=1)
    hundredths: NDArray[np.float64] = np.nan_to_num(
        np.rint(100 * np.stack([*figures, hits.sum(axis=1) / total, recalls], axis=1)), nan=0.0
    )
    return hundredths

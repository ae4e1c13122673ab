"""The float tensors of a model, folded range by range: every element by itself, in blocks that the threads divide.

Blocks and ranges do not show in the model: no sum runs over elements. Norms and cosines do run over them; they decide nothing.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fedcli.aggregation import mean
from fedcli.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from fedcli.aggregation.crew import Crew
    from fedcli.aggregation.output import Output
    from fedcli.aggregation.rules import Rule
    from fedcli.aggregation.stack import Stack
    from fedcli.aggregation.state import ServerState
    from fedcli.aggregation.update import Run
    from fedcli.tensors import Layout

_BLOCK = 1 << 14
"""Elements that a thread works on at a time."""
_PIECE = 1 << 13
"""Elements of one dot product: so few that BLAS starts no threads of its own."""
_TILE = 32
"""Rows that it holds in float64."""


class FloatFold:
    """The fold of one pass.

    Attributes:
        squares: Each row's squared norm so far.
        products: Each row's dot product with the step so far.
        step_square: The step's squared norm so far.
    """

    def __init__(
        self, rule: Rule, weights: Sequence[int], stack: Stack, before: Stack, server: ServerState | None, crew: Crew
    ) -> None:
        self._rule = rule
        self._weights = weights
        self._stack = stack
        self._before = before
        self._server = server
        self._crew = crew
        self._scratch = threading.local()
        self.squares = np.zeros(len(weights))
        self.products = np.zeros(len(weights))
        self.step_square = 0.0

    def fold(self, run: Run, layout: Layout, output: Output) -> None:
        """Write the run of floats.

        Raises:
            UpdateError: Updates are not finite, or cannot be read.
            TrustError: The model would not be finite.
        """
        together = self._stack.together(always=self._rule.columns is not None)
        for first, last in self._stack.ranges(run, together=together):
            part = _Range(self._before.read(range(1), run, first, last)[0], len(self._weights))
            groups = self._stack.groups(together=together)
            if len(groups) == 1:
                rows = self._stack.read(groups[0], run, first, last)
                self._each(part, partial(self._whole, part, rows, first))
            else:
                self._in_groups(part, groups, run, first, last)
            if not (finite := np.isfinite(part.squares).all(axis=1)).all():
                self._stack.refuse(np.flatnonzero(~finite).tolist(), run, first, last)
            if not (finite := np.isfinite(part.model)).all():
                position = run.begin - len(layout.header) + 4 * (first + int(np.argmin(finite)))
                name = next(item.name for item in layout.tensors if item.begin <= position < item.end)
                msg = f"the global model would not be finite in tensor {name}"
                raise TrustError(msg)
            self.squares += part.squares.sum(axis=1)
            self.products += part.products.sum(axis=1)
            self.step_square += float(part.step_squares.sum())
            output.write(part.model.data)

    def _in_groups(self, part: _Range, groups: list[range], run: Run, first: int, last: int) -> None:
        """Fold the rows group by group, then look at them again for the cosines."""
        for group in groups:
            rows = self._stack.read(group, run, first, last)
            self._each(part, partial(self._add, part, rows, self._weights[group.start : group.stop]))
        self._each(part, lambda block: mean.divide(part.step[block], self._weights))
        for group in groups:
            rows = self._stack.read(group, run, first, last)
            self._each(part, partial(self._measure, part, rows, group.start))
        self._each(part, partial(self._move, part, first))

    def _whole(self, part: _Range, rows: NDArray[np.float32], first: int, block: slice) -> None:
        """Do everything that is to be done with one block of all rows; of few rows the float64 are made once."""
        tiles = [slice(at, at + _TILE) for at in range(0, len(rows), _TILE)]
        if self._rule.columns is not None:
            part.step[block] = self._rule.columns.floats(rows[:, block])
        else:
            for tile in tiles:
                values = self._add(part, rows[tile], self._weights[tile], block)
            mean.divide(part.step[block], self._weights)
            if len(tiles) == 1:
                part.measure(values, 0, block)
        if len(tiles) > 1 or self._rule.columns is not None:
            for tile in tiles:
                self._measure(part, rows[tile], tile.start, block)
        self._move(part, first, block)

    def _add(self, part: _Range, rows: NDArray[np.float32], weights: Sequence[int], block: slice) -> NDArray[np.float64]:
        """Add a block of some rows to S; return the block in float64, which holds until this thread's next one."""
        values = self._in_double(rows[:, block])
        mean.add(part.step[block], values, weights)
        return values

    def _measure(self, part: _Range, rows: NDArray[np.float32], first_row: int, block: slice) -> None:
        part.measure(self._in_double(rows[:, block]), first_row, block)

    def _in_double(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return rows in float64, in memory that this thread uses again and again."""
        if not hasattr(self._scratch, "values"):
            self._scratch.values = np.empty(_TILE * _BLOCK)
        found: NDArray[np.float64] = self._scratch.values[: rows.size].reshape(rows.shape)
        np.copyto(found, rows)
        return found

    def _move(self, part: _Range, first: int, block: slice) -> None:
        """Add the step, or what the server makes of it, to φ(t-1)."""
        step = part.step[block]
        if self._server is not None:
            self._server.advance(step, first + block.start)
        np.add(part.model[block], step, out=step)
        part.model[block] = step

    def _each(self, part: _Range, work: Callable[[slice], object]) -> None:
        size = part.model.size

        def block(number: int) -> None:
            with np.errstate(all="ignore"):  # what is not finite is named afterwards
                work(slice(number * _BLOCK, min((number + 1) * _BLOCK, size)))

        self._crew.each(-(-size // _BLOCK), block)


class _Range:
    """A range of elements in the making.

    Attributes:
        model: φ(t-1), then φ(t).
        step: S, then the step.
        squares, products, step_squares: As in `FloatFold`, piece by piece.
    """

    def __init__(self, base: NDArray[np.float32], rows: int) -> None:
        pieces = -(-base.size // _PIECE)
        self.model = base.copy()
        self.step = np.zeros(base.size)
        self.squares = np.empty((rows, pieces))
        self.products = np.empty((rows, pieces))
        self.step_squares = np.empty(pieces)

    def measure(self, values: NDArray[np.float64], first_row: int, block: slice) -> None:
        """Take the dot products of a block of some rows with themselves and with the step, a call of BLAS for each piece."""
        rows = slice(first_row, first_row + len(values))
        for at in range(0, values.shape[1], _PIECE):
            number = (block.start + at) // _PIECE
            piece, step = values[:, at : at + _PIECE], self.step[block][at : at + _PIECE]
            self.squares[rows, number] = np.matmul(piece[:, None, :], piece[:, :, None])[:, 0, 0]
            self.products[rows, number] = np.matmul(piece[:, None, :], step[:, None])[:, 0, 0]
            self.step_squares[number] = np.dot(step, step)

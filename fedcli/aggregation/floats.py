"""The float tensors of a model, folded range by range, each range by one thread, every element by itself.

Blocks and ranges do not show in the model: no sum runs over elements. Norms and cosines do run over them; they decide nothing.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli.aggregation import mean
from fedcli.aggregation.turns import Turns
from fedcli.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fedcli.aggregation.crew import Crew
    from fedcli.aggregation.output import Output
    from fedcli.aggregation.rules import Rule
    from fedcli.aggregation.stack import Stack
    from fedcli.aggregation.state import ServerState
    from fedcli.aggregation.turns import Passage
    from fedcli.aggregation.update import Run
    from fedcli.tensors import Layout

_BLOCK = 1 << 16
"""Elements that a thread works on at a time: they stay in the processor's second cache."""
_PIECE = 1 << 13
"""Elements of one dot product: so few that BLAS starts no threads of its own."""
_SAFE = (1e-30, 1e30)
"""Squared norms of pieces that float32 tells well; others are taken again in float64."""


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
        ranges = list(self._stack.ranges(run, together=together))

        def work(passage: Passage) -> None:
            first, last = ranges[passage.number]
            with np.errstate(all="ignore"):  # what is not finite is named afterwards
                part = self._folded(run, first, last, passage, together=together)
            with passage.at(output):
                self._check(part, run, first, last, layout)
                self.squares += part.squares.sum(axis=1)
                self.products += part.products.sum(axis=1)
                self.step_square += float(part.step_squares.sum())
                output.write(part.model.data)

        Turns().each(self._crew, len(ranges), work)

    def _folded(self, run: Run, first: int, last: int, passage: Passage, *, together: bool) -> _Range:
        part = _Range(self._before.read(range(1), run, first, last, passage)[0], len(self._weights), self._scratch)
        groups = self._stack.groups(together=together)
        columns = self._rule.columns
        for group in groups:
            rows = self._stack.read(group, run, first, last, passage, partial(self._add, part) if columns is None else None)
        for block in part.blocks():
            if columns is None:
                mean.divide(part.step[block], self._weights)
            else:
                part.step[block] = columns.floats(rows[:, block])
        for group in groups:
            if len(groups) > 1:  # again, for the cosines, now that the step is known
                rows = self._stack.read(group, run, first, last)
            for block in part.blocks():
                part.measure(rows, group.start, block)
        for block in part.blocks():
            self._move(part, first, block)
        return part

    def _check(self, part: _Range, run: Run, first: int, last: int, layout: Layout) -> None:
        if not (finite := np.isfinite(part.squares).all(axis=1)).all():
            self._stack.refuse(np.flatnonzero(~finite).tolist(), run, first, last)
        if not (finite := np.isfinite(part.model)).all():
            position = run.begin - len(layout.header) + 4 * (first + int(np.argmin(finite)))
            name = next(item.name for item in layout.tensors if item.begin <= position < item.end)
            msg = f"the global model would not be finite in tensor {name}"
            raise TrustError(msg)

    def _add(self, part: _Range, number: int, row: NDArray[np.float32]) -> None:
        """Add a row to S."""
        for block in part.blocks():
            mean.add(part.step[block], row[block], self._weights[number], part.product[: block.stop - block.start])

    def _move(self, part: _Range, first: int, block: slice) -> None:
        """Add the step, or what the server makes of it, to φ(t-1)."""
        step = part.step[block]
        if self._server is not None:
            self._server.advance(step, first + block.start)
        np.add(part.model[block], step, out=step)
        part.model[block] = step


class _Range:
    """A range of elements in the making.

    Attributes:
        model: φ(t-1), then φ(t), in the same memory.
        step: S, then the step.
        product: Room for one block.
        squares, products, step_squares: As in `FloatFold`, piece by piece.
    """

    def __init__(self, base: NDArray[np.float32], rows: int, scratch: threading.local) -> None:
        if len(getattr(scratch, "step", ())) < base.size:  # this thread's, used again and again: fresh memory costs time
            scratch.step, scratch.product = np.empty(base.size), np.empty(_BLOCK)
        pieces = -(-base.size // _PIECE)
        self.model = base
        self.step: NDArray[np.float64] = scratch.step[: base.size]
        self.step.fill(0.0)
        self.product: NDArray[np.float64] = scratch.product
        self.squares = np.empty((rows, pieces))
        self.products = np.empty((rows, pieces))
        self.step_squares = np.empty(pieces)

    def blocks(self) -> Iterator[slice]:
        """Yield the range in blocks."""
        for begin in range(0, self.model.size, _BLOCK):
            yield slice(begin, min(begin + _BLOCK, self.model.size))

    def measure(self, rows: NDArray[np.float32], first_row: int, block: slice) -> None:
        """Take the dot products of a block of some rows with themselves and with the step, a call of BLAS for each piece."""
        step = self.step[block].astype(np.float32)
        for at in range(0, step.size, _PIECE):
            number = (block.start + at) // _PIECE
            piece, along = rows[:, block][:, at : at + _PIECE], step[at : at + _PIECE]
            squares, products, square = _dots(piece, along)
            if not (_SAFE[0] < square < _SAFE[1] and ((_SAFE[0] < squares) & (squares < _SAFE[1])).all()):
                squares, products, square = _dots(piece.astype(np.float64), self.step[block][at : at + _PIECE])
            chosen = slice(first_row, first_row + len(rows))
            self.squares[chosen, number], self.products[chosen, number], self.step_squares[number] = squares, products, square


def _dots(rows: NDArray[Any], step: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], Any]:
    """Return the rows' squared norms and their products with the step, each (rows,), and the step's squared norm."""
    squares = np.matmul(rows[:, None, :], rows[:, :, None])[:, 0, 0]
    return squares, np.matmul(rows[:, None, :], step[:, None])[:, 0, 0], np.dot(step, step)

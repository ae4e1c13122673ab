"""The float tensors of a model, folded range by range, each range by one thread, every element by itself.

Blocks and ranges do not show in the model: no sum runs over elements. Norms and cosines do run over them; they decide nothing.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli.aggregation import mean
from fedcli.aggregation.room import room
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
"""Columns that a rule looks at together."""
_PIECE = 1 << 13
"""Elements of one dot product: so few that BLAS starts no threads of its own."""
_SAFE = (1e-30, 1e30)
"""Squared norms of pieces that float32 tells well; others are taken again in float64, and their products too."""


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
        use = None if columns is not None else partial(self._add, part)
        for group in groups:
            rows = self._stack.read(group, run, first, last, passage, use)
        if columns is None:
            mean.divide(part.step, self._weights)
        else:
            for block in part.blocks():
                part.step[block] = columns.floats(rows[:, block])
        for group in groups:
            if len(groups) > 1:  # again, for the cosines, now that the step is known
                rows = self._stack.read(group, run, first, last)
            part.measure(rows, group.start)
        self._move(part, first)
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
        mean.add(part.step, row, self._weights[number], part.product)

    def _move(self, part: _Range, first: int) -> None:
        """Add the step, or what the server makes of it, to φ(t-1)."""
        if self._server is not None:
            self._server.advance(part.step, first)
        np.copyto(part.product, part.model)  # by itself, as in `mean.add`
        np.add(part.product, part.step, out=part.product)
        np.copyto(part.model, part.product, casting="same_kind")


class _Range:
    """A range of elements in the making.

    Attributes:
        model: φ(t-1), then φ(t), in the same memory.
        step: S, then the step.
        product: Room for a row's product.
        squares, products, step_squares: As in `FloatFold`, piece by piece.
    """

    def __init__(self, base: NDArray[np.float32], rows: int, scratch: threading.local) -> None:
        if len(getattr(scratch, "step", ())) < base.size:  # this thread's, used again and again: fresh memory costs time
            scratch.step, scratch.product = room(base.size, np.float64), room(base.size, np.float64)
            scratch.narrow = room(base.size, np.float32)
        pieces = -(-base.size // _PIECE)
        self.model = base
        self.step: NDArray[np.float64] = scratch.step[: base.size]
        self.step.fill(0.0)
        self.product: NDArray[np.float64] = scratch.product[: base.size]
        self._narrow: NDArray[np.float32] = scratch.narrow[: base.size]
        self.squares = np.empty((rows, pieces))
        self.products = np.empty((rows, pieces))
        self.step_squares = np.empty(pieces)

    def blocks(self) -> Iterator[slice]:
        """Yield the range in blocks, of which a rule's columns may be copied."""
        for begin in range(0, self.model.size, _BLOCK):
            yield slice(begin, min(begin + _BLOCK, self.model.size))

    def measure(self, rows: NDArray[np.float32], first_row: int) -> None:
        """Take the dot products of some rows with themselves and with the step."""
        chosen = slice(first_row, first_row + len(rows))
        np.copyto(self._narrow, self.step, casting="same_kind")
        step = self._narrow[None]
        self.squares[chosen], self.products[chosen], self.step_squares[:] = (
            _dots(rows, rows),
            _dots(rows, step),
            _dots(step, step),
        )
        for piece in np.flatnonzero(~(_safe(self.squares[chosen]).all(axis=0) & _safe(self.step_squares))):
            values, along = rows[:, _elements(piece)].astype(np.float64), self.step[None, _elements(piece)]
            for target, found in ((self.squares[chosen], _dots(values, values)), (self.products[chosen], _dots(values, along))):
                target[:, piece] = found[:, 0]
            self.step_squares[piece] = _dots(along, along)[0, 0]


def _elements(piece: np.intp) -> slice:
    return slice(int(piece) * _PIECE, (int(piece) + 1) * _PIECE)


def _safe(squares: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which squared norms float32 tells well."""
    return np.asarray((_SAFE[0] < squares) & (squares < _SAFE[1]))


def _dots(rows: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Return the dot product of every row, (rows, elements), with its partner or the only one, piece by piece: (rows, pieces).

    All of them are one or two calls of numpy, which makes one of BLAS for each row and piece.
    """
    whole = rows.shape[1] // _PIECE * _PIECE
    found = []
    for cut, width in ((slice(0, whole), _PIECE), (slice(whole, None), rows.shape[1] - whole)):
        if width and rows[:, cut].size:
            left, right = (array[:, cut].reshape(len(array), -1, width) for array in (rows, others))
            found.append(np.matmul(left[:, :, None, :], right[:, :, :, None])[:, :, 0, 0])
    return np.concatenate(found, axis=1, dtype=np.float64)

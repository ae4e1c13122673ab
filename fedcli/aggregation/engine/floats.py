"""The float tensors of a model, folded range by range, each range by one thread, every element by itself.

Blocks and ranges do not show in the model: no sum runs over elements. Norms and cosines do run over them; they decide nothing.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli.aggregation import mean
from fedcli.aggregation.engine.ordered_stages import Turns
from fedcli.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedcli.aggregation.engine.buffer_pool import Loan
    from fedcli.aggregation.engine.ordered_stages import Passage
    from fedcli.aggregation.engine.output import Output
    from fedcli.aggregation.engine.stack import Stack
    from fedcli.aggregation.engine.thread_pool import Crew
    from fedcli.aggregation.rules import Rule
    from fedcli.aggregation.state import ServerState
    from fedcli.aggregation.update import Run
    from fedcli.tensors import Layout

_BLOCK = 1 << 16
"""Columns that a rule looks at together."""
_PIECE = 1 << 10
"""Elements of one dot product: so few that BLAS starts no threads of its own, and that a range has more than 500 of them: up to
that many numpy takes in one call without giving Python's lock away."""
_SAFE = (1e-30, 1e30)
"""Squared norms of pieces that float32 tells well; others are taken again in float64, and their products too."""


class FloatFold:
    """The fold of one pass.

    Attributes:
        squares: Each row's squared norm so far, and last the step's.
        products: Each row's dot product with the step so far.
    """

    def __init__(
        self,
        rule: Rule,
        weights: Sequence[int],
        stack: Stack,
        before: Stack,
        server: ServerState | None,
        crew: Crew,
        loan: Loan,
    ) -> None:
        self._rule = rule
        self._weights = np.array(weights, np.float64)
        self._stack = stack
        self._before = before
        self._server = server
        self._crew = crew
        self._loan = loan
        self._scratch = threading.local()
        self._models: list[NDArray[np.float32]] = []
        self.squares = np.zeros(len(weights) + 1)
        self.products = np.zeros(len(weights))

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

            def finish() -> None:
                squares = part.squares.sum(axis=1)
                self._check(squares[:-1], part.model, run, first, last, layout)
                self.squares += squares
                self.products += part.products.sum(axis=1)
                output.write(part.model.data)
                self._models.append(part.model)

            passage.hand_in(finish)

        Turns().each(self._crew, len(ranges), work)

    def _folded(self, run: Run, first: int, last: int, passage: Passage, *, together: bool) -> _Range:
        part = _Range(last - first, len(self._weights), self._loan, self._scratch, self._models)
        groups = self._stack.groups(together=together)
        for group in groups:
            rows = self._stack.read(group, run, first, last, passage)
            self._add(part, group, rows)
        if self._rule.columns is None:
            mean.divide(part.step, self._weights)
        part.measure_step()
        for group in groups:
            if len(groups) > 1:  # again, for the cosines, now that the step is known
                rows = self._stack.read(group, run, first, last)
            part.measure(rows, group.start)
        if self._server is not None:
            self._server.advance(part.step, first)
        base = self._before.read(range(1), run, first, last, passage)[0]
        np.add(base, part.step, out=part.model, dtype=np.float64, casting="same_kind")
        return part

    def _add(self, part: _Range, group: range, rows: NDArray[np.float32]) -> None:
        """Make the step of all rows, or add a group of them to S."""
        if self._rule.columns is not None:
            for begin in range(0, part.step.size, _BLOCK):
                block = slice(begin, begin + _BLOCK)
                part.step[block] = self._rule.columns.floats(rows[:, block])
        elif len(rows) == len(self._weights):
            mean.total(part.step, rows, self._weights, part.product)
        else:
            if group.start == 0:
                part.step.fill(0.0)
            for number, row in zip(group, rows, strict=True):
                mean.add(part.step, row, self._weights[number], part.product)

    def _check(
        self, squares: NDArray[np.float64], model: NDArray[np.float32], run: Run, first: int, last: int, layout: Layout
    ) -> None:
        if not (finite := np.isfinite(squares)).all():
            self._stack.refuse(np.flatnonzero(~finite).tolist(), run, first, last)
        if not (finite := np.isfinite(model)).all():
            position = run.begin - len(layout.header) + 4 * (first + int(np.argmin(finite)))
            name = next(item.name for item in layout.tensors if item.begin <= position < item.end)
            msg = f"the global model would not be finite in tensor {name}"
            raise TrustError(msg)


class _Range:
    """A range of elements in the making.

    Args:
        size: Elements.
        rows: Updates.
        loan: Memory.
        scratch: What of it is this thread's, range after range.
        models: Memory of models that are written already.

    Attributes:
        model: φ(t).
        step: S, then the step.
        product: Room for a row's product.
        squares: The rows' squared norms, and last the step's, piece by piece, (rows + 1, pieces).
        products: The rows' dot products with the step, (rows, pieces).
    """

    def __init__(self, size: int, rows: int, loan: Loan, scratch: threading.local, models: list[NDArray[np.float32]]) -> None:
        if len(getattr(scratch, "step", ())) < size:
            scratch.step, scratch.product = loan.room(size, np.float64), loan.room(size, np.float64)
            scratch.narrow = loan.room(size, np.float32)
        try:
            self.model = models.pop()[:size]
        except IndexError:
            self.model = loan.room(size, np.float32)
        self.step: NDArray[np.float64] = scratch.step[:size]
        self.product: NDArray[np.float64] = scratch.product[:size]
        self._narrow: NDArray[np.float32] = scratch.narrow[:size]
        pieces = -(-size // _PIECE)
        self.squares = np.empty((rows + 1, pieces))
        self.products = np.empty((rows, pieces))

    def measure_step(self) -> None:
        """Take the dot product of the step, which is made, with itself."""
        np.copyto(self._narrow, self.step, casting="same_kind")
        _dots(self._narrow[None], self._narrow[None], self.squares[-1:])

    def measure(self, rows: NDArray[np.float32], first_row: int) -> None:
        """Take the dot products of some rows with themselves and with the step."""
        squares, products = (array[first_row : first_row + len(rows)] for array in (self.squares, self.products))
        step_squares = self.squares[-1:]
        _dots(rows, rows, squares)
        _dots(rows, self._narrow[None], products)
        unsafe = ~(_safe(squares) & _safe(step_squares)).all(axis=0)
        for piece in np.flatnonzero(unsafe):
            values, along = rows[:, _elements(piece)].astype(np.float64), self.step[None, _elements(piece)]
            for left, right, target in ((values, values, squares), (values, along, products), (along, along, step_squares)):
                _dots(left, right, target[:, piece : piece + 1])


def _elements(piece: np.intp) -> slice:
    return slice(int(piece) * _PIECE, (int(piece) + 1) * _PIECE)


def _safe(squares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which squared norms float32 tells well."""
    return np.asarray((squares > _SAFE[0]) & (squares < _SAFE[1]))


def _dots(rows: NDArray[Any], others: NDArray[Any], out: NDArray[np.float64]) -> None:
    """Take the dot product of every row, (rows, elements), with its partner or the only one, piece by piece: (rows, pieces)."""
    pieces = rows.shape[1] // _PIECE
    whole = pieces * _PIECE
    if pieces:
        left, right = (array[:, :whole].reshape(len(array), pieces, _PIECE) for array in (rows, others))
        np.vecdot(left, right, out=out[:, :pieces])
    if whole < rows.shape[1]:
        np.vecdot(rows[:, whole:], others[:, whole:], out=out[:, pieces])

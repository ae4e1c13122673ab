"""The next model, made range by range from φ(t-1) and the deltas; what must not become part of it is refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli.aggregation.engine.dot_products import DotProducts, combined, dot_products
from fedcli.aggregation.overflow import culprits
from fedcli.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from fedcli.aggregation.engine.column_range import ColumnRange
    from fedcli.aggregation.engine.output import Output
    from fedcli.aggregation.engine.update_matrix import UpdateMatrix
    from fedcli.aggregation.rules import AggregationRule
    from fedcli.aggregation.server_state import ServerState, TrainedElements
    from fedcli.aggregation.update import Update


_LARGEST = 1e15
"""A larger buffer makes a network's output infinite."""


@dataclass(frozen=True, slots=True)
class NewModel:
    """φ(t), made range by range. Row 0 of the matrix is φ(t-1), the others are the deltas.

    Attributes:
        rule: The rule.
        updates: The updates, in the order of their rows.
        weights: What each delta is multiplied by.
        reviewed: Whether the deltas are compared with the direction of all, for a review.
        compared: Each delta's part in that direction; None takes the step.
        trained: Which elements are trained.
        matrix: All files.
        server: The server's state, if the rule has one.
        output: Where φ(t) goes.
        sums: What is summed over the elements.
    """

    rule: AggregationRule
    updates: Sequence[Update]
    weights: Sequence[int]
    reviewed: bool
    compared: NDArray[np.float32] | None
    trained: TrainedElements
    matrix: UpdateMatrix
    server: ServerState | None
    output: Output
    sums: DotProducts

    def integers(self, columns: ColumnRange) -> memoryview:
        """Return a range of the integer tensors, such as counters: φ(t) = φ(t-1) + step, in Python's exact integers."""
        self._require_counts(columns.rows[1:, : columns.count], columns)
        rows = columns.rows[:, : columns.count].astype(object)
        model = rows[0] + self.rule.average.integers(rows[1:], self.weights)
        limits = np.iinfo(columns.section.dtype)
        if (outside := (model < limits.min) | (model > limits.max)).any():
            column = int(np.argmax(outside))
            base, *deltas = rows[:, column].tolist()
            step = partial(self._integer_step, deltas)
            self._refuse_overflow(base, deltas, step, lambda value: limits.min <= value <= limits.max, columns.tensor_at(column))
        result: NDArray[np.int64] = model.astype(columns.section.dtype)
        return result.data

    def floats(self, columns: ColumnRange) -> tuple[memoryview, DotProducts]:
        """Return a range of the float tensors, φ(t) = float32(φ(t-1) + step), and the dot products of its deltas."""
        base, deltas, step = columns.rows[0], columns.rows[1:], columns.step
        with np.errstate(all="ignore"):  # what is not finite is named afterwards
            self.rule.average.floats(deltas, self.weights, step)
            trained = None if self.trained.every else self.trained.within(columns.first, columns.count)[0]
            sums = dot_products(columns.rows, step, self._direction(columns, trained), columns.count, trained)
            self.matrix.require_finite(np.append(True, np.isfinite(sums.squares)), columns)
            if self.server is not None:
                self.server.advance(step[: columns.count], columns.first)
            np.add(base, step, out=base, dtype=np.float64, casting="same_kind")
            model = base[: columns.count]
            if not (finite := np.isfinite(model)).all():
                column = int(np.argmin(finite))
                before, *moves = self.matrix.column(columns, column).tolist()
                step_of = partial(self._float_step, moves, columns.first + column)
                self._refuse_overflow(before, moves, step_of, _is_float32, columns.tensor_at(column))
            self._require_usable_buffers(model, columns)
        return model.data, sums

    def _require_usable_buffers(self, model: NDArray[np.float32], columns: ColumnRange) -> None:
        """Refuse the updates that make a running variance negative, or a float buffer too large to be computed with."""
        if all(update.most_counted is None for update in self.updates):
            return
        for name, part in self.trained.buffers_within(columns.first, columns.count):
            is_variance, values = name.endswith("running_var"), model[part]
            for wrong in np.flatnonzero((np.abs(values) > _LARGEST) | (is_variance & (values < 0))):
                column = part.start + int(wrong)
                before, *moves = self.matrix.column(columns, column).tolist()
                # A variance of 0 may have become a little less, since what travels is a rounded difference.
                lowest = -2 * float(np.spacing(np.float32(abs(before)))) if is_variance else -_LARGEST
                if not lowest <= model[column] <= _LARGEST:
                    step_of = partial(self._float_step, moves, columns.first + column)
                    self._refuse_overflow(before, moves, step_of, partial(_is_between, lowest), name)

    def write(self, new: tuple[memoryview, DotProducts]) -> None:
        """Write the next range of the float tensors."""
        data, sums = new
        self.output.write(data)
        self.sums.add(sums)

    def _direction(self, columns: ColumnRange, trained: NDArray[np.bool_] | None) -> NDArray[np.floating[Any]] | None:
        """Return the direction that a review compares the deltas with: 0 where an element is not trained."""
        if not self.reviewed:
            return None
        direction: NDArray[np.floating[Any]] = columns.step.copy()
        if self.compared is not None:
            direction = combined(self.compared, columns.rows[1:])
        if trained is not None:
            direction[: columns.count][~trained] = 0
        return direction

    def _require_counts(self, deltas: NDArray[Any], columns: ColumnRange) -> None:
        """Refuse the updates in which an integer buffer shrinks, or grows further than it may."""
        faults = {}
        for number, (row, update) in enumerate(zip(deltas, self.updates, strict=True), 1):
            if (most := update.most_counted) is not None and (wrong := (row < 0) | (row > most)).any():
                column = int(np.argmax(wrong))
                faults[number] = f"counts {row[column]} in tensor {columns.tensor_at(column)}, expected 0 to its {most} steps"
        self.matrix.refuse(faults)

    def _refuse_overflow(
        self,
        base: float,
        deltas: list[float],
        step: Callable[[list[int]], float],
        in_range: Callable[[float], bool],
        tensor: str,
    ) -> None:
        """Refuse the updates that take a value of a tensor out of its range."""
        taking_part = [number for number, weight in enumerate(self.weights) if weight]
        named = culprits(
            [deltas[number] for number in taking_part],
            base + step(taking_part),
            lambda kept: in_range(base + step([taking_part[number] for number in kept])),
        )
        sites = [taking_part[number] for number in named]
        self.matrix.refuse(
            {site + 1: f"moves tensor {tensor} out of its range, from {base:g} by {deltas[site]:g}" for site in sites}
        )
        msg = f"tensor {tensor} of the global model would leave its range, whichever sites take part"
        raise TrustError(msg, hint="`fedcli restart --from ROUND --reason TEXT` goes back to the model of an earlier round")

    def _integer_step(self, deltas: list[int], kept: list[int]) -> int:
        if len(kept) < self._needed:
            return 0
        column = np.array([deltas[number] for number in kept], object)[:, None]
        return int(self.rule.average.integers(column, [self.weights[number] for number in kept])[0])

    def _float_step(self, deltas: list[float], position: int, kept: list[int]) -> float:
        mean = np.zeros(2)  # one column would be added row by row
        if len(kept) >= self._needed:
            rows = np.array([[deltas[number]] * mean.size for number in kept], np.float32)
            self.rule.average.floats(rows, [self.weights[number] for number in kept], mean)
        return float((mean[:1] if self.server is None else self.server.movement(mean[:1], position))[0])

    @property
    def _needed(self) -> int:
        """How many of the updates that take part make a step."""
        return 1 if self.rule.krum is not None else self.rule.least


def _is_float32(value: float) -> bool:
    return bool(np.isfinite(np.float32(value)))


def _is_between(lowest: float, value: float) -> bool:
    return lowest <= float(np.float32(value)) <= _LARGEST

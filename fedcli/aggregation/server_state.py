"""What the server keeps from one round to the next, in a canonical safetensors file of its own.

For each kind of value that a rule keeps (`momentum`, `variance`), the file has a float32 tensor `<kind>/<tensor>` for each
trained float tensor of the model, of the same shape. Buffers have none. Since names are sorted, all values of one kind follow one
another in the order of the model.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np

from fedcli import disk, tensors
from fedcli.tensors import TensorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.disk import Measured
    from fedcli.tensors import Layout


class Server(Protocol):
    """A rule that moves the trained weights by a function of their mean and of float32 values that the server keeps for each."""

    @property
    def state(self) -> tuple[tuple[str, float], ...]:
        """The kinds of values that the server keeps, in the order of its file, each with its initial value."""

    def step(
        self, mean: NDArray[np.float64], state: tuple[NDArray[np.float32], ...]
    ) -> tuple[NDArray[np.float64], tuple[NDArray[np.float32], ...]]:
        """Return how far the weights move, and the values that the server keeps then."""


def state_layout(server: Server, model: Layout) -> Layout:
    """Return the layout of the state of a rule for a model."""
    weights = [item for item in model.tensors if item.dtype == "F32" and not tensors.is_buffer(item.name)]
    return tensors.layout((f"{name}/{item.name}", "F32", item.shape) for name, _ in server.state for item in weights)


class FloatTensor(NamedTuple):
    """A float tensor among all floats of a model.

    Attributes:
        name: Its name.
        begin: Its first element.
        end: The element after its last one.
        position: Where the state of its first element is; None for a buffer, which has none.
    """

    name: str
    begin: int
    end: int
    position: int | None


class TrainedElements:
    """Which elements of the model's floats are trained, and where each of them is in the state.

    Attributes:
        count: How many they are.
        every: Whether all of them are.
    """

    def __init__(self, model: Layout) -> None:
        floats = [item for item in model.tensors if item.dtype == "F32"]
        self._tensors: list[FloatTensor] = []
        self.count = 0
        for item in floats:
            begin, end = (item.begin - floats[0].begin) // 4, (item.end - floats[0].begin) // 4
            is_buffer = tensors.is_buffer(item.name)
            self._tensors.append(FloatTensor(item.name, begin, end, None if is_buffer else self.count))
            self.count += 0 if is_buffer else end - begin
        self.every = not self._tensors or self.count == self._tensors[-1].end
        self._begins = [tensor.begin for tensor in self._tensors]

    def within(self, first: int, count: int) -> tuple[NDArray[np.bool_], int]:
        """Tell which elements of a range are trained, and the position of the first of them in the state."""
        trained = np.zeros(count, np.bool_)
        positions = []
        for tensor, part in self._within(first, count):
            if tensor.position is not None:
                trained[part] = True
                positions.append(tensor.position + max(first - tensor.begin, 0))
        return trained, positions[0] if positions else 0

    def erase_others(self, values: NDArray[np.floating[Any]], first: int, count: int) -> None:
        """Multiply what is not trained by 0, so that a number that is not finite stays visible.

        Args:
            values: (rows, elements) of a range, which may be filled up beyond its end.
            first: The range's first element.
            count: The number of its elements.
        """
        if not self.every:
            np.multiply(values[:, :count], self.within(first, count)[0], out=values[:, :count])

    def buffers_within(self, first: int, count: int) -> Iterator[tuple[str, slice]]:
        """Yield the names of the buffers in a range, and where in the range each is."""
        return ((tensor.name, part) for tensor, part in self._within(first, count) if tensor.position is None)

    def _within(self, first: int, count: int) -> Iterator[tuple[FloatTensor, slice]]:
        for tensor in islice(self._tensors, max(bisect_right(self._begins, first) - 1, 0), None):
            if tensor.begin >= first + count:
                return
            if tensor.end > first:
                yield tensor, slice(max(tensor.begin - first, 0), min(tensor.end - first, count))


class ServerState:
    """The state before and after a round, read and written range by range, in any order.

    Args:
        server: The rule.
        model: The global model's layout.
        before: The file of the state after the round before; None where there is none.
        target: Where the state after this round goes.

    Raises:
        TensorError: `before` is not a state of this rule and model.
    """

    def __init__(self, server: Server, model: Layout, before: Path | None, target: Path) -> None:
        self._server = server
        self._layout = state_layout(server, model)
        self._trained = TrainedElements(model)
        self._target = target
        self._partial = target.with_name(f".{target.name}.partial")
        self._before = before.open("rb", buffering=0) if before is not None else None
        if self._before is not None and (difference := self._layout.difference(tensors.read_layout(self._before))):
            self._before.close()
            msg = f"not the server state of this rule and model: {difference}"
            raise TensorError(msg)
        self._after = self._partial.open("wb", buffering=0)
        self._after.write(self._layout.header)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._after.close()
        self._partial.unlink(missing_ok=True)
        if self._before is not None:
            self._before.close()

    def advance(self, mean: NDArray[np.float64], first: int) -> None:
        """Turn a range of the mean, from element `first` on, into the movement, and write the state after it."""
        position, after = self._step(mean, first)
        for number, values in enumerate(after):
            self._write(number, position, values)

    def movement(self, mean: NDArray[np.float64], first: int) -> NDArray[np.float64]:
        """Return the movement that `advance` would make of a range of the mean."""
        movement = mean.copy()
        self._step(movement, first)
        return movement

    def _step(self, mean: NDArray[np.float64], first: int) -> tuple[int, tuple[NDArray[np.float32], ...]]:
        """Turn a range of the mean into the movement, NaN where the state would not be finite; return where the state goes."""
        trained, position = self._trained.within(first, mean.size)
        count = int(np.count_nonzero(trained))
        before = tuple(self._read(number, position, count) for number in range(len(self._server.state)))
        movement, after = self._server.step(mean[trained], before)
        for values in after:
            if not (finite := np.isfinite(values)).all():
                movement[~finite] = np.nan
        mean[trained] = movement
        return position, after

    def finish(self) -> Measured:
        """Give the file its name; return its size and digest."""
        os.fsync(self._after.fileno())
        self._partial.rename(self._target)
        return disk.measure(self._target)

    def _read(self, number: int, position: int, count: int) -> NDArray[np.float32]:
        if self._before is None:
            return np.full(count, self._server.state[number][1], np.float32)
        values = np.empty(count, "<f4")
        if os.preadv(self._before.fileno(), [values.data.cast("B")], self._offset(number, position)) != values.nbytes:
            msg = "the server state is cut off"
            raise TensorError(msg)
        return values

    def _write(self, number: int, position: int, values: NDArray[np.float32]) -> None:
        data = values.astype("<f4", copy=False).data.cast("B")
        if os.pwrite(self._after.fileno(), data, self._offset(number, position)) != len(data):
            msg = f"{self._partial}: the disk did not take all bytes"
            raise OSError(msg)

    def _offset(self, number: int, position: int) -> int:
        return len(self._layout.header) + 4 * (number * self._trained.count + position)

"""The server's memory between rounds, as a canonical safetensors file of its own.

For each value that a rule remembers (`momentum`, `variance`) it holds one float32 tensor for each float tensor of the model that
is trained, `momentum/<tensor>`, of the same shape; buffers have none. As names are sorted, each value is one flat run, in the
model's order.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from fedcli import tensors
from fedcli.tensors import TensorError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.tensors import Layout, Measured


class Server(Protocol):
    """What the server makes of the weights' mean, with a memory of its own: float32 values, a few for each weight."""

    @property
    def state(self) -> tuple[tuple[str, float], ...]:
        """What the server remembers of each weight, in the order of its file, and where each begins."""

    def step(
        self, mean: NDArray[np.float64], state: tuple[NDArray[np.float32], ...]
    ) -> tuple[NDArray[np.float64], tuple[NDArray[np.float32], ...]]:
        """Return how far the weights move, and what the server remembers then."""


def state_layout(server: Server, model: Layout) -> Layout:
    """Return the layout of a rule's state for a model."""
    weights = [item for item in model.tensors if item.dtype == "F32" and not tensors.is_buffer(item.name)]
    return tensors.layout((f"{name}/{item.name}", "F32", item.shape) for name, _ in server.state for item in weights)


class TrainedElements:
    """Which elements of the model's float section are trained, and where each of them is in the state."""

    def __init__(self, model: Layout) -> None:
        floats = [item for item in model.tensors if item.dtype == "F32"]
        self._parts: list[tuple[int, int, int]] = []
        self.count = 0
        for item in floats:
            if not tensors.is_buffer(item.name):
                begin, end = (item.begin - floats[0].begin) // 4, (item.end - floats[0].begin) // 4
                self._parts.append((begin, end, self.count))
                self.count += end - begin

    def within(self, first: int, last: int) -> tuple[list[slice], int]:
        """Return the trained parts of a range, counted from its start, and the position of the first one in the state."""
        overlapping = [part for part in self._parts if part[0] < last and part[1] > first]
        if not overlapping:
            return [], 0
        begin, _, position = overlapping[0]
        slices = [slice(max(begin, first) - first, min(end, last) - first) for begin, end, _ in overlapping]
        return slices, position + max(first - begin, 0)


class ServerState:
    """The state before and after a round, read and written range by range.

    Args:
        server: The rule.
        model: The global model's layout.
        before: The state after the round before; None begins.
        target: Where the state after this round goes.

    Raises:
        TensorError: `before` is not this rule's state of this model.
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
        """Turn a range of the mean, beginning at an element, into the movement, and write the state after it."""
        parts, position = self._trained.within(first, first + mean.size)
        if not parts:
            return
        gathered = np.concatenate([mean[part] for part in parts])
        count = gathered.size
        values = tuple(self._read(number, position, count) for number in range(len(self._server.state)))
        movement, after = self._server.step(gathered, values)
        for number, value in enumerate(after):
            self._write(number, position, value)
        done = 0
        for part in parts:
            mean[part] = movement[done : done + part.stop - part.start]
            done += part.stop - part.start

    def finish(self) -> Measured:
        """Give the file its name; return its size and digest."""
        os.fsync(self._after.fileno())
        self._partial.rename(self._target)
        return tensors.measure(self._target)

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

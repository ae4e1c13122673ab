"""Where rows of files stand beside one another: one buffer a thread, used range after range."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from fedcli.aggregation.engine.buffer_pool import PAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.aggregation.engine.buffer_pool import Loan


class Buffer:
    """A thread's buffer.

    Attributes:
        room: All of its memory.
        bytes: What is in use of it, (rows, bytes of a row).
        rows: The same, each row as `preadv` takes it.
        at: Where in a page it begins.
    """

    def __init__(self, room: NDArray[np.uint8], rows: int, size: int, at: int) -> None:
        self.room = room
        self.bytes = room[: rows * size].reshape(rows, size)
        self.rows = [(row.data,) for row in self.bytes]
        self.at = at


class Buffers:
    """Every thread's buffer."""

    def __init__(self, loan: Loan) -> None:
        self._loan = loan
        self._own = threading.local()

    def get(self, rows: int, size: int, offset: int) -> Buffer:
        """Return this thread's buffer, for so many rows of `size` bytes, which begin at an offset of their files."""
        kept: Buffer | None = getattr(self._own, "buffer", None)
        at = offset % PAGE
        if kept is None or kept.at != at or len(kept.room) < rows * size:
            kept = Buffer(self._loan.room(rows * size, np.uint8, at=at), rows, size, at)
        elif kept.bytes.shape != (rows, size):
            kept = Buffer(kept.room, rows, size, at)
        self._own.buffer = kept
        return kept

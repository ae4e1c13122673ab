"""A range of columns of all files: what one thread reads and computes on at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.aggregation.update import Section

UNIT = 1024
"""Ranges begin at multiples of this many columns."""


class Buffer:
    """Memory for a range of `count` columns of so many rows, used again for one range after another."""

    def __init__(self, section: Section, count: int, num_rows: int) -> None:
        self.num_rows = num_rows
        self.numbers = np.empty(num_rows * _padded(count), section.dtype)
        self.step = np.empty(_padded(count), np.float64)


class Columns:
    """A range of columns of a section, filled up with zeros to a multiple of UNIT columns.

    Args:
        section: The section.
        first: The first column.
        count: The number of columns.
        buffer: Where the numbers go.

    Attributes:
        rows: The numbers of every file, (files, columns).
        parts: The rows without the zeros, as `preadv` takes them.
        step: Room for one float64 number for each column.
    """

    def __init__(self, section: Section, first: int, count: int, buffer: Buffer) -> None:
        self.section = section
        self.first = first
        self.count = count
        self.offset = section.begin + first * section.dtype.itemsize
        width = _padded(count)
        self.step = buffer.step[:width]
        self.rows: NDArray[Any] = buffer.numbers[: buffer.num_rows * width].reshape(-1, width)
        self.rows[:, count:] = 0
        self.parts = [(row[:count].data,) for row in self.rows]

    def tensor_at(self, column: int) -> str:
        """Return the name of the tensor that a column of this range belongs to."""
        position = self.section.tensors[0].begin + self.section.dtype.itemsize * (self.first + column)
        return next(tensor.name for tensor in self.section.tensors if tensor.begin <= position < tensor.end)


def _padded(count: int) -> int:
    return -(-count // UNIT) * UNIT

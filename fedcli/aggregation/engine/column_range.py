"""The range of columns that one thread reads from all files and computes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.aggregation.update import Section

UNIT = 1024
"""Ranges begin at multiples of this many columns."""


class ColumnRange:
    """A range of columns, filled up with zeros to a multiple of UNIT. Its memory is used for one range after another.

    Args:
        section: The section.
        length: The number of columns, at most.
        num_rows: The number of files.

    Attributes:
        first: The first column.
        count: The number of columns, without the zeros.
        rows: The numbers of every file, (files, columns).
        parts: The same without the zeros, as `preadv` takes them.
        step: Memory for a float64 number for each column.
    """

    def __init__(self, section: Section, length: int, num_rows: int) -> None:
        self.section = section
        self._num_rows = num_rows
        self._numbers = np.empty(num_rows * _padded(length), section.dtype)
        self._step = np.empty(_padded(length), np.float64)
        self.count = 0

    def move(self, first: int, count: int) -> None:
        """Move to another range, whose numbers are yet to be read."""
        self.first = first
        if count != self.count:
            self.count, width = count, _padded(count)
            self.step = self._step[:width]
            self.rows: NDArray[Any] = self._numbers[: self._num_rows * width].reshape(-1, width)
            self.rows[:, count:] = 0
            self.parts = [(row[:count].data,) for row in self.rows]

    @property
    def offset(self) -> int:
        """The position of the range in every file, in bytes."""
        return self.section.begin + self.first * self.section.dtype.itemsize

    def tensor_at(self, column: int) -> str:
        """Return the name of the tensor that a column of this range belongs to."""
        position = self.section.tensors[0].begin + self.section.dtype.itemsize * (self.first + column)
        return next(tensor.name for tensor in self.section.tensors if tensor.begin <= position < tensor.end)


def _padded(count: int) -> int:
    return -(-count // UNIT) * UNIT

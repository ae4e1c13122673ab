"""Memory that suits its use, and is used again.

Where it begins within a page decides how fast it is read into and computed on; and the system's fresh pages, which come zeroed
and one by one, cost a replay of many small models a seventh of its time.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

PAGE = 4096


class Rooms:
    """Memory that nobody uses at the moment."""

    def __init__(self) -> None:
        self._spare: defaultdict[int, list[NDArray[np.uint8]]] = defaultdict(list)

    def lend(self) -> Loan:
        """Return a context in which memory is lent, to any thread; all of it comes back when it ends."""
        return Loan(self._spare)


class Loan:
    """Memory that is in use until the context ends."""

    def __init__(self, spare: defaultdict[int, list[NDArray[np.uint8]]]) -> None:
        self._spare = spare
        self._lent: list[NDArray[np.uint8]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for whole in self._lent:
            self._spare[len(whole)].append(whole)

    def room(self, count: int, dtype: DTypeLike, *, at: int = 0) -> NDArray[Any]:
        """Return `count` elements, not initialised, whose address is `at` bytes past a page's begin.

        What is read from a file goes where `at` is the file's offset: a copy that lags a few bytes behind its source within the
        page takes up to twice as long, since the processor takes its loads for those of what it has just stored. What is computed
        on begins at a page, so that no vector lies across two lines of the cache.
        """
        size = count * np.dtype(dtype).itemsize
        try:
            whole = self._spare[size + 2 * PAGE].pop()
        except IndexError:
            whole = np.empty(size + 2 * PAGE, np.uint8)
        self._lent.append(whole)
        begin = -whole.ctypes.data % PAGE + at % PAGE
        return whole[begin : begin + size].view(dtype)

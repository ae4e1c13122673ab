"""Memory that suits its use: where it begins within a page decides how fast it is read into and computed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

PAGE = 4096


def room(count: int, dtype: DTypeLike, *, at: int = 0) -> NDArray[Any]:
    """Return `count` elements, not initialised, whose address is `at` bytes past a page's begin.

    What is read from a file goes where `at` is the file's offset: a copy that lags a few bytes behind its source within the page
    takes up to twice as long, since the processor takes its loads for those of what it has just stored. What is computed on
    begins at a page, so that no vector lies across two lines of the cache.
    """
    size = count * np.dtype(dtype).itemsize
    whole = np.empty(size + 2 * PAGE, np.uint8)
    begin = -whole.ctypes.data % PAGE + at % PAGE
    return whole[begin : begin + size].view(dtype)

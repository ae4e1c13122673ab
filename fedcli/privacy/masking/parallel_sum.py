"""A sum modulo 2**64 whose addends several threads read or compute.

Addition modulo 2**64 has one result in every order, so threads change no bit.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WORD = np.dtype("<u8")
"""A number modulo 2**64."""


class Addend(Protocol):
    """A run of words, read or computed from the first one on."""

    def add_to(self, words: NDArray[np.uint64], /) -> None:
        """Add the next of its words to these, one to each."""


class ParallelSum:
    """The sum of addends, piece by piece from the first word on.

    Args:
        parts: The addends of each thread.
    """

    def __init__(self, parts: Sequence[Sequence[Addend]]) -> None:
        self._own, *self._others = parts
        self._pool = ThreadPoolExecutor(max(1, len(self._others)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add_to(self, words: NDArray[np.uint64]) -> None:
        """Add the next words of all addends to these."""
        totals = [self._pool.submit(_total, part, words.size) for part in self._others]
        for addend in self._own:
            addend.add_to(words)
        for total in totals:
            np.add(words, total.result(), out=words)


def _total(addends: Sequence[Addend], count: int) -> NDArray[np.uint64]:
    words = np.zeros(count, WORD)
    for addend in addends:
        addend.add_to(words)
    return words

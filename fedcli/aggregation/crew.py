"""Threads that share one piece of work after another: what they run is numpy, reading and hashing, which leave Python's lock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class Crew:
    """A fixed number of threads, the caller's own among them.

    Attributes:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._others = ThreadPoolExecutor(size - 1) if size > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._others is not None:
            self._others.shutdown()

    def each(self, count: int, work: Callable[[int], None]) -> None:
        """Call `work` with 0 to count - 1, divided among the threads, and return when all are done; the first error is raised."""

        def share(first: int) -> None:
            for number in range(first, count, self.size):
                work(number)

        others = [self._others.submit(share, first) for first in range(1, min(self.size, count))] if self._others else []
        try:
            share(0)
        finally:
            wait(others)
        for other in others:
            other.result()

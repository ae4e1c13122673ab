"""Threads that share one piece of work after another: what they run is numpy, reading and hashing, which leave Python's lock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Self

from fedcli.aggregation.engine.buffer_pool import Rooms

if TYPE_CHECKING:
    from collections.abc import Callable


class Crew:
    """A fixed number of threads, the caller's own among them.

    Attributes:
        size: How many.
        rooms: Memory that one piece of work leaves to the next.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.rooms = Rooms()
        self._others = ThreadPoolExecutor(size - 1) if size > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._others is not None:
            self._others.shutdown()

    def each(self, count: int, work: Callable[[int], None]) -> None:
        """Call `work` with 0 to count - 1 and return when all are done; the first error is raised.

        A thread that is free takes the next number, so that each has its own in ascending order and the faster ones have more.
        """
        numbers = iter(range(count))

        def share() -> None:
            for number in numbers:  # shared: Python's lock hands each out once
                work(number)

        others = [self._others.submit(share) for _ in range(1, min(self.size, count))] if self._others else []
        try:
            share()
        finally:
            wait(others)
        for other in others:
            other.result()

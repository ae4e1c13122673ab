"""Order among threads that work on different ranges: a file must be hashed, and a model written, from beginning to end."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator


class OrderedStages:
    """The number of columns that have passed each stage.

    When one thread fails, the others stop at their next stage with the same error.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._passed: defaultdict[Hashable, int] = defaultdict(int)
        self._error: BaseException | None = None

    @contextmanager
    def stage(self, name: Hashable, first: int, count: int) -> Iterator[None]:
        """Enter a stage after all columns before `first` have passed it; at the end, `count` more have."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._passed[name] == first)
            if self._error is not None:
                raise self._error
        yield
        with self._changed:
            self._passed[name] = first + count
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Stop the other threads."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

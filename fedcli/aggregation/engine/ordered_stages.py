"""Order among threads that work on one range after another: a file is hashed and a model is written from its begin to its end."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator


class OrderedStages:
    """How many columns have passed each stage. When one thread fails, the others stop at their next stage with the same error."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._passed: defaultdict[Hashable, int] = defaultdict(int)
        self._error: BaseException | None = None

    @contextmanager
    def stage(self, name: Hashable, first: int, count: int) -> Iterator[None]:
        """Wait until all columns before `first` have passed a stage, and let `count` more pass it."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._passed[name] == first)
            if self._error is not None:
                raise self._error
        yield
        with self._changed:
            self._passed[name] = first + count
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Stop all threads."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

"""Order among threads that work on one range of elements after another: places where range after range must pass.

A thread reads and computes when it likes; but digests run over the bytes of a file in order, and a model is written in order.
Where one thread fails, the others stop at their next place with the same error.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from contextlib import AbstractContextManager

    from fedcli.aggregation.crew import Crew


class Turns:
    """The places of one pass."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._passed: defaultdict[Hashable, int] = defaultdict(int)
        self._error: BaseException | None = None

    @contextmanager
    def at(self, place: Hashable, number: int) -> Iterator[None]:
        """Wait until every range before this one has passed a place, and pass it."""
        with self._condition:
            self._condition.wait_for(lambda: self._error is not None or self._passed[place] == number)
            if self._error is not None:
                raise self._error
        yield
        with self._condition:
            self._passed[place] = number + 1
            self._condition.notify_all()

    def each(self, crew: Crew, count: int, work: Callable[[Passage], None]) -> None:
        """Do the work for ranges 0 to count - 1, each thread its own ones in ascending order."""

        def attempt(number: int) -> None:
            try:
                work(Passage(turns=self, number=number))
            except BaseException as error:
                with self._condition:
                    self._error = self._error or error
                    self._condition.notify_all()
                raise

        crew.each(count, attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One range on its way through the places."""

    turns: Turns
    number: int

    def at(self, place: Hashable) -> AbstractContextManager[None]:
        """Return the context in which this range passes a place."""
        return self.turns.at(place, self.number)

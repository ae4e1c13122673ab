"""Order among threads that work on one range of elements after another: what must be done range after range.

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

    from fedcli.aggregation.engine.thread_pool import Crew


class Turns:
    """The order of one pass.

    Args:
        ahead: How many ranges' work may be handed in and not done.
    """

    def __init__(self, *, ahead: int = 4) -> None:
        self._condition = Condition()
        self._passed: defaultdict[Hashable, int] = defaultdict(int)
        self._error: BaseException | None = None
        self._ahead = ahead
        self._handed_in: dict[int, Callable[[], None]] = {}
        self._next = 0
        self._busy = False

    @contextmanager
    def at(self, place: Hashable, number: int) -> Iterator[None]:
        """Wait until every range before this one has passed a place, and pass it."""
        with self._condition:
            self._condition.wait_for(lambda: self._error is not None or self._passed[place] == number)
            self._stop_at_an_error()
        yield
        with self._condition:
            self._passed[place] = number + 1
            self._condition.notify_all()

    def hand_in(self, number: int, work: Callable[[], None]) -> None:
        """Have a range's work done after that of all ranges before, by this thread or by one that is at it already.

        The thread goes on meanwhile, unless it is too far ahead.
        """
        with self._condition:
            self._handed_in[number] = work
            self._condition.wait_for(lambda: self._error is not None or number - self._next < self._ahead)
            self._stop_at_an_error()
            if self._busy:
                return
            self._busy = True
        while (due := self._due()) is not None:
            due()

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

    def _due(self) -> Callable[[], None] | None:
        """Return the next range's work; None where it is not handed in yet, and then whoever does so does it."""
        with self._condition:
            self._stop_at_an_error()
            work = self._handed_in.pop(self._next, None)
            if work is None:
                self._busy = False
                return None
            self._next += 1
            self._condition.notify_all()
            return work

    def _stop_at_an_error(self) -> None:
        if self._error is not None:
            raise self._error


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One range on its way."""

    turns: Turns
    number: int

    def at(self, place: Hashable) -> AbstractContextManager[None]:
        """Return the context in which this range passes a place."""
        return self.turns.at(place, self.number)

    def hand_in(self, work: Callable[[], None]) -> None:
        """Have this range's work done after that of all ranges before; see `Turns.hand_in`."""
        self.turns.hand_in(self.number, work)

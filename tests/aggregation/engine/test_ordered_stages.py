"""What is handed in is done range after range, by whichever thread is there; nobody is left waiting when one fails."""

from __future__ import annotations

import random
import time
from threading import Barrier, Event, get_ident
from typing import TYPE_CHECKING

import pytest

from fedcli.aggregation.engine.ordered_stages import Turns
from fedcli.aggregation.engine.thread_pool import Crew

if TYPE_CHECKING:
    from fedcli.aggregation.engine.ordered_stages import Passage


@pytest.mark.parametrize("size", [1, 2, 5])
def test_all_is_done_in_order(size: int) -> None:
    generator, done = random.Random(size), list[int]()
    delays = [generator.random() / 500 for _ in range(60)]

    def work(passage: Passage) -> None:
        time.sleep(delays[passage.number])
        passage.hand_in(lambda: done.append(passage.number))

    with Crew(size) as crew:
        Turns().each(crew, len(delays), work)
    assert done == list(range(len(delays)))


def test_a_thread_goes_on_while_another_does_what_it_handed_in() -> None:
    """Range 0's work waits until range 1 and 2 are handed in by the other thread, which does not wait for it."""
    both, handed_in, by = Barrier(2), Event(), dict[int, int]()

    def work(passage: Passage) -> None:
        def due() -> None:
            by[passage.number] = get_ident()
            assert passage.number > 0 or handed_in.wait(10)

        if passage.number < 2:
            both.wait(10)
        if passage.number == 1:
            while 0 not in by:
                time.sleep(0.001)
        passage.hand_in(due)
        if passage.number == 2:
            handed_in.set()

    with Crew(2) as crew:
        Turns().each(crew, 3, work)
    assert list(by) == [0, 1, 2]
    assert len(set(by.values())) == 1


def test_nobody_runs_further_ahead_than_allowed() -> None:
    begun, done, release = list[int](), list[int](), Event()

    def work(passage: Passage) -> None:
        begun.append(passage.number)
        if passage.number == 0:
            release.wait(0.3)  # never set: the other thread meanwhile goes as far as it may
            assert max(begun) == 3
        passage.hand_in(lambda: done.append(passage.number))

    with Crew(2) as crew:
        Turns(ahead=3).each(crew, 20, work)
    assert done == list(range(20))


@pytest.mark.parametrize("place", ["working", "handed in"])
def test_an_error_stops_all(place: str) -> None:
    done = list[int]()

    def work(passage: Passage) -> None:
        if passage.number == 7 and place == "working":
            raise ValueError(place)

        def due() -> None:
            if passage.number == 7:
                raise ValueError(place)
            done.append(passage.number)

        passage.hand_in(due)

    with Crew(3) as crew, pytest.raises(ValueError, match=place):
        Turns().each(crew, 500, work)
    assert done == list(range(len(done)))
    assert len(done) <= 7

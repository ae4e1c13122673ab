"""What must be done range after range is done so, whichever threads do it; nobody is left waiting when one of them fails."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from fedcli.aggregation.engine.ordered_stages import OrderedStages

if TYPE_CHECKING:
    from collections.abc import Callable


def run(threads: int, count: int, work: Callable[[OrderedStages, int], None]) -> None:
    """Run ranges of 10 columns in threads, as the engine does."""
    stages = OrderedStages()

    def attempt(number: int) -> None:
        try:
            work(stages, number)
        except BaseException as error:
            stages.fail(error)
            raise

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(attempt, range(count)))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_stage_is_passed_in_order(threads: int) -> None:
    generator = random.Random(threads)
    delays = [generator.random() / 500 for _ in range(60)]
    passed: dict[str, list[int]] = {"hash": [], "write": []}

    def work(stages: OrderedStages, number: int) -> None:
        time.sleep(delays[number])
        for name, numbers in passed.items():
            with stages.stage(name, 10 * number, 10):
                numbers.append(number)

    run(threads, len(delays), work)
    assert passed == {"hash": list(range(60)), "write": list(range(60))}


@pytest.mark.parametrize("place", ["before", "within"])
def test_an_error_stops_all(place: str) -> None:
    done: list[int] = []

    def work(stages: OrderedStages, number: int) -> None:
        if number == 7 and place == "before":
            raise ValueError(place)
        with stages.stage("write", 10 * number, 10):
            if number == 7:
                raise ValueError(place)
            done.append(number)

    with pytest.raises(ValueError, match=place):
        run(3, 500, work)
    assert done == list(range(len(done)))
    assert len(done) <= 7

"""Memory is lent to one at a time, comes back whatever happens, and what another has left in it does not show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli.aggregation.engine.buffer_pool import PAGE, Rooms
from fedcli.aggregation.engine.thread_pool import Crew
from fedcli.aggregation.update import UpdateError
from tests.aggregation.models import Bench, bench

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = {"a": 717, "b": 262, "c": 1}


def test_no_two_have_the_same_memory() -> None:
    rooms = Rooms()
    with rooms.lend() as loan, rooms.lend() as other:
        lent = [loan.room(1000, np.float32), loan.room(1000, np.float32), other.room(1000, np.float32)]
        for number, room in enumerate(lent):
            room.fill(number)
        assert [int(room.min()) for room in lent] == [int(room.max()) for room in lent] == [0, 1, 2]


def test_memory_comes_back_after_an_error() -> None:
    rooms = Rooms()
    lent = []

    def borrow() -> None:
        with rooms.lend() as loan:
            lent.append(loan.room(1000, np.float64))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        borrow()
    with rooms.lend() as loan:
        assert np.shares_memory(loan.room(1000, np.float64), lent[0])
        assert not np.shares_memory(loan.room(1000, np.float64), lent[0])


@pytest.mark.parametrize("at", [0, 8, PAGE - 4, PAGE + 12])
def test_a_room_begins_where_it_is_asked_to(at: int) -> None:
    with Rooms().lend() as loan:
        room = loan.room(5, np.float32, at=at)
        assert room.shape == (5,)
        assert room.ctypes.data % PAGE == at % PAGE


@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_fold_has_left_does_not_show_in_the_next(tmp_path: Path, threads: int) -> None:
    """Not even NaN, of which a sum that did not begin anew would make more."""
    made = bench(tmp_path, WEIGHTS, length=200_001)
    expected = made.fold().model
    spoiled = made.deltas["b"] | {"classifier.bias": np.full(200_001, np.nan, np.float32)}
    with Crew(threads) as crew:
        assert made.fold(crew=crew).model == expected
        with pytest.raises(UpdateError, match="NaN or infinity"):
            Bench(tmp_path, made.base, made.deltas | {"b": spoiled}, WEIGHTS).fold(crew=crew)
        assert Bench(tmp_path, made.base, made.deltas, WEIGHTS).fold(crew=crew).model == expected

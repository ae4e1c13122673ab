"""Order, crashes and the parent's death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import DataError
from fedcli.imaging.archive.pool import in_order

if TYPE_CHECKING:
    from pathlib import Path

PARENT = """
import sys
from functools import partial
from test_pool import name_oneself
from fedcli.imaging.archive.pool import in_order
if __name__ == "__main__":
    list(in_order(partial(name_oneself, folder=sys.argv[1]), [1, 2], workers=2, lost=None, late=None))
"""


def work(number: int) -> int:
    """Square a number, the slower the smaller; end the process at 5 and at 6."""
    time.sleep(0.02 * (3 - number % 4))
    if number in {5, 6}:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def name_oneself(number: int, *, folder: str) -> None:
    """Leave the process's number behind and stay."""
    with open(os.path.join(folder, str(os.getpid())), "x", encoding="utf-8"):  # noqa: PTH123, PTH118
        time.sleep(60 + number)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def stay(number: int) -> int:
    """Never come back from 2, nor from 3."""
    while number in {2, 3}:
        signal.pause()
    return number


def test_order_and_crashes() -> None:
    results = list(in_order(work, range(20), workers=2, lost=-1, late=-2))
    assert results == [-1 if number in {5, 6} else number**2 for number in range(20)]


def test_what_takes_too_long_is_given_up_alone() -> None:
    assert list(in_order(stay, range(8), workers=2, lost=-1, late=-2, seconds=0.5)) == [0, 1, -2, -2, 4, 5, 6, 7]


def test_a_process_that_does_not_start_is_an_error() -> None:
    with pytest.raises(DataError, match="ended before it was ready, with exit code 1"):
        list(in_order(Unreadable(), [1], workers=1, lost=None, late=None))


class Unreadable:
    """A task that can be sent, and not be received."""

    def __call__(self, _number: int) -> None:
        """Do nothing."""

    def __reduce__(self) -> tuple[object, ...]:
        return refuse, ()


def refuse() -> None:
    raise ImportError


def test_no_items() -> None:
    assert list(in_order(work, [], workers=1, lost=-1, late=-2)) == []


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    folder = tmp_path / "processes"
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": os.path.dirname(__file__)}  # noqa: PTH120
    parent = subprocess.Popen([sys.executable, str(script), str(folder)], env=environment)
    try:
        deadline = time.monotonic() + 30
        while len(os.listdir(folder)) < 2 and time.monotonic() < deadline:  # noqa: PTH208
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    processes = [int(path.name) for path in folder.iterdir()]
    assert len(processes) == 2
    deadline = time.monotonic() + 10
    while any(map(alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, processes))

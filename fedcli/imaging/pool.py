"""Many files over many processes: results in the order of the files, whatever happens to a process.

Processes are spawned, so that nothing of the parent is inherited. A task that ends its process (a decoder's crash, the kernel's
memory killer) costs that one file: those that were under way with it are run again alone, and the one that ends its process again
is given up.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, TypeVar

import cv2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")
Lost = TypeVar("Lost")

_AHEAD = 4
"""Tasks a process that are submitted or done before their turn: what keeps memory flat."""


def in_order(task: Callable[[Item], Result], items: Sequence[Item], *, workers: int, lost: Lost) -> Iterator[Result | Lost]:
    """Yield `task(item)` for every item, in the order of the items.

    Args:
        task: Can be pickled; raises nothing.
        items: What to work on.
        workers: Number of processes.
        lost: Stands for the result of a task that ends its process.
    """
    done = 0
    futures: deque[Future[Result]] = deque()
    executor = _executor(workers)
    try:
        while done < len(items):
            try:
                while len(futures) < _AHEAD * workers and done + len(futures) < len(items):
                    futures.append(executor.submit(task, items[done + len(futures)]))
                result = futures[0].result()
            except BrokenProcessPool:
                executor.shutdown()
                for future in futures:
                    yield _after_breakage(task, items[done], future, lost)
                    done += 1
                futures.clear()
                executor = _executor(workers)
            else:
                futures.popleft()
                done += 1
                yield result
    finally:
        executor.shutdown(cancel_futures=True)


def _after_breakage(task: Callable[[Item], Result], item: Item, future: Future[Result], lost: Lost) -> Result | Lost:
    """Return what was done before the pool broke, or run the task alone."""
    if future.done() and future.exception() is None:
        return future.result()
    with _executor(1) as alone:
        try:
            return alone.submit(task, item).result()
        except BrokenProcessPool:
            return lost


def _executor(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """Prepare a process: one thread, interruptions left to the parent, no life after the parent's."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

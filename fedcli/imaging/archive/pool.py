"""Many files in many processes: results in the order of the files, whatever happens to a process.

Processes are spawned, so they inherit nothing from the parent. Each holds the item that it works on and the next one. A task that
ends its process (a decoder's crash, the kernel's out-of-memory killer) or takes too long costs only that item and a new process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from itertools import product
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Generic, TypeVar

from fedcli.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from multiprocessing.connection import Connection

Item = TypeVar("Item")
Result = TypeVar("Result")

SECONDS = 300.0
"""How long one item may take: enough for a volume of a hundred JPEG 2000 slices on a slow machine."""

_AHEAD = 4
"""Items per process that are finished or in progress before it is their turn; this bounds the memory."""
_HELD = 2


def in_order(
    task: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    lost: Result,
    late: Result,
    seconds: float = SECONDS,
) -> Generator[Result]:
    """Yield `task(item)` for every item, in the order of the items.

    Args:
        task: Can be pickled; raises nothing.
        items: The arguments.
        workers: Number of processes.
        lost: The result for a task that ends its process.
        late: The result for a task that takes too long.
        seconds: How long a task may take.

    Raises:
        DataError: A process ends before it is ready.
    """
    waiting = deque(range(len(items)))
    results: dict[int, Result] = {}
    num_yielded = 0
    pool = [_Worker(task) for _ in range(min(workers, len(items)))]
    try:
        while num_yielded < len(items):
            for depth, worker in product(range(_HELD), pool):
                if len(worker.held) == depth and waiting and waiting[0] < num_yielded + _AHEAD * workers:
                    worker.give(waiting.popleft(), items, seconds)
            for number, worker in enumerate(pool):
                if worker.held and not worker.connection.poll() and worker.is_late():
                    pool[number] = _replaced(worker, task, results, late, waiting)
            for connection in wait([worker.connection for worker in pool], timeout=min(worker.left() for worker in pool)):
                number = next(number for number, worker in enumerate(pool) if worker.connection is connection)
                if not pool[number].take(results, seconds):
                    pool[number] = _replaced(pool[number], task, results, lost, waiting)
            while num_yielded in results:
                yield results.pop(num_yielded)
                num_yielded += 1
    finally:
        for worker in pool:
            worker.end()


def _replaced(
    worker: _Worker[Item, Result],
    task: Callable[[Item], Result],
    results: dict[int, Result],
    result: Result,
    waiting: deque[int],
) -> _Worker[Item, Result]:
    """End a process, give the item in progress this result, take back those that have not begun, and start another process."""
    if not worker.is_ready:
        worker.process.join(SECONDS)
        msg = f"a process that reads files ended before it was ready, with exit code {worker.process.exitcode}"
        raise DataError(msg, hint="run fedcli doctor; is there enough memory for this many --workers?")
    worker.end()
    if worker.held:
        results[worker.held.popleft()] = result
    waiting.extendleft(reversed(worker.held))
    return _Worker(task)


class _Worker(Generic[Item, Result]):
    """A process and the numbers of the items that it holds; it works on the first."""

    def __init__(self, task: Callable[[Item], Result]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, task), daemon=True)
        # A blocked signal stays blocked in the process: only the parent handles an interruption at the terminal.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.held: deque[int] = deque()
        self.is_ready = False
        self._deadline = float("inf")

    def give(self, number: int, items: Sequence[Item], seconds: float) -> None:
        """Hand over an item; if the process has ended, that is noticed when its results are awaited."""
        if not self.held and self.is_ready:
            self._deadline = time.monotonic() + seconds
        self.held.append(number)
        try:
            self.connection.send(items[number])
        except OSError:
            return

    def take(self, results: dict[int, Result], seconds: float) -> bool:
        """Take a result; return False if the process has ended."""
        try:
            result = self.connection.recv()
        except (EOFError, OSError):
            return False
        if self.is_ready:
            results[self.held.popleft()] = result
        self.is_ready = True
        self._deadline = time.monotonic() + seconds if self.held else float("inf")
        return True

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return max(0.0, min(self._deadline - time.monotonic(), SECONDS))

    def is_late(self) -> bool:
        """Return whether the deadline has passed."""
        return time.monotonic() > self._deadline

    def end(self) -> None:
        """Kill the process, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, task: Callable[[Item], Result]) -> None:
    """Work until the parent ends; the first message says that the process is ready.

    The output of codecs is discarded, because it may quote the file.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    threading.Thread(target=_follow_parent, daemon=True).start()
    connection.send(None)
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        connection.send(task(item))


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

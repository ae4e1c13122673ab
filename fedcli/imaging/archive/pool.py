"""Many files over many processes: results in the order of the files, whatever happens to a process.

Processes are spawned, so that nothing of the parent is inherited. Each holds the item it works on and the next one. A task that
ends its process (a decoder's crash, the kernel's memory killer) or takes too long costs that one item and a new process.
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
"""How long one item may take: a volume of a hundred JPEG 2000 slices, on a slow machine."""

_AHEAD = 4
"""Items a process that are done or under way before their turn: what keeps memory flat."""
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
        items: What to work on.
        workers: Number of processes.
        lost: Stands for the result of a task that ends its process.
        late: Stands for the result of a task that takes too long.
        seconds: How long a task may take.

    Raises:
        DataError: A process ends before it has begun.
    """
    waiting = deque(range(len(items)))
    results: dict[int, Result] = {}
    done = 0
    crew = [_Worker(task) for _ in range(min(workers, len(items)))]
    try:
        while done < len(items):
            for depth, worker in product(range(_HELD), crew):
                if len(worker.held) == depth and waiting and waiting[0] < done + _AHEAD * workers:
                    worker.give(waiting.popleft(), items, seconds)
            for number, worker in enumerate(crew):
                if worker.held and not worker.connection.poll() and worker.is_late():
                    crew[number] = _replaced(worker, task, results, late, waiting)
            for connection in wait([worker.connection for worker in crew], timeout=min(worker.left() for worker in crew)):
                number = next(number for number, worker in enumerate(crew) if worker.connection is connection)
                if not crew[number].take(results, seconds):
                    crew[number] = _replaced(crew[number], task, results, lost, waiting)
            while done in results:
                yield results.pop(done)
                done += 1
    finally:
        for worker in crew:
            worker.end()


def _replaced(
    worker: _Worker[Item, Result],
    task: Callable[[Item], Result],
    results: dict[int, Result],
    instead: Result,
    waiting: deque[int],
) -> _Worker[Item, Result]:
    """Give up what a process was working on, take back what it had not begun, and begin another."""
    if not worker.has_begun:
        worker.process.join(SECONDS)
        msg = f"a process that reads files ended before it had begun, with exit code {worker.process.exitcode}"
        raise DataError(msg, hint="run fedcli doctor; is there memory for as many --workers?")
    worker.end()
    if worker.held:
        results[worker.held.popleft()] = instead
    waiting.extendleft(reversed(worker.held))
    return _Worker(task)


class _Worker(Generic[Item, Result]):
    """A process and what it holds: the numbers of its items, the first of which it is working on."""

    def __init__(self, task: Callable[[Item], Result]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, task), daemon=True)
        # What is blocked stays so in the process: an interruption at the terminal is the parent's alone.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.held: deque[int] = deque()
        self.has_begun = False
        self._deadline = float("inf")

    def give(self, number: int, items: Sequence[Item], seconds: float) -> None:
        """Hand over an item; a process that has ended meanwhile is found so when its results are awaited."""
        if not self.held and self.has_begun:
            self._deadline = time.monotonic() + seconds
        self.held.append(number)
        try:
            self.connection.send(items[number])
        except OSError:
            return

    def take(self, results: dict[int, Result], seconds: float) -> bool:
        """Take a result, or tell that the process has ended."""
        try:
            result = self.connection.recv()
        except (EOFError, OSError):
            return False
        if self.has_begun:
            results[self.held.popleft()] = result
        self.has_begun = True
        self._deadline = time.monotonic() + seconds if self.held else float("inf")
        return True

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return max(0.0, min(self._deadline - time.monotonic(), SECONDS))

    def is_late(self) -> bool:
        """Tell whether the deadline has passed."""
        return time.monotonic() > self._deadline

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, task: Callable[[Item], Result]) -> None:
    """Work until the parent ends; say first that the process has begun.

    What codecs print is for nobody, and may quote the file.
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

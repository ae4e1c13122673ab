"""The files of many updates as one stack of rows, read once, in order, in bounded memory.

Canonical files of one layout hold the same tensors at the same bytes, so that after one comparison of headers only flat runs of
numbers remain: the integers, then the floats. A row is one update's part of a run. Rows are read by `preadv` into one buffer that
is used again and again; nothing is mapped. A file that names its digest is hashed in the same pass, each byte when it is first
read, header included; a second look at the same numbers is neither hashed nor needed for the model (it serves the cosines).

The number of open descriptors is bounded, whatever the number of sites.
"""

from __future__ import annotations

import hashlib
import os
import resource
import stat
from contextlib import nullcontext
from itertools import repeat
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, Self

import numpy as np

from fedcli import tensors
from fedcli.aggregation.engine.row_buffer import Buffers
from fedcli.aggregation.update import UpdateError
from fedcli.tensors import TensorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from fedcli.aggregation.engine.buffer_pool import Loan
    from fedcli.aggregation.engine.ordered_stages import Passage
    from fedcli.aggregation.engine.thread_pool import Crew
    from fedcli.aggregation.update import Run, Update
    from fedcli.tensors import Layout

MEMORY = 8 << 20
"""Bytes of a thread's buffer: what the processor's cache keeps for it."""
UNIT = 1024
"""Ranges begin at multiples of so many elements."""
_MOST_OPEN = 1024
"""Files that stay open, at most."""
_BESIDE = 200
"""Rows that stand beside one another: of more, a range that fits the buffer is short, and reading it again costs less."""
_APART = 4
"""Rows at a time where they are more, and need not stand beside one another."""
_LONGEST = 1 << 18
"""Elements of a range, at most: many make each call cheap, and opening a file again."""


class Stack:
    """Updates of one layout, open for one pass; `close_books` at its end compares the digests.

    Args:
        updates: In the order of the rows.
        layout: What every file must hold.
        crew: Who reads.
        loan: Memory.
        memory: Bytes of the buffer of a thread.
        scales: What each row of floats is multiplied by, rounded to float32; 1 leaves it as it is.
    """

    def __init__(
        self,
        updates: Sequence[Update],
        layout: Layout,
        crew: Crew,
        loan: Loan,
        *,
        memory: int = MEMORY,
        scales: Sequence[float] = (),
    ) -> None:
        self.updates = updates
        self._layout = layout
        self._crew = crew
        self._buffers = Buffers(loan)
        self._memory = memory
        self._scales = scales
        self._hashers = [hashlib.sha256() if update.sha256 else None for update in updates]
        self._hashed = [0] * len(updates)
        self._open: dict[int, int] = {}
        self._most = _most_open()

    def __enter__(self) -> Self:
        try:
            self._collect(self._check_header)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def together(self, *, always: bool = False) -> bool:
        """Tell whether all rows of a range stand in the buffer at once: where they must (`always`), or where they are few."""
        return always or len(self.updates) <= _BESIDE

    def groups(self, *, together: bool) -> list[range]:
        """Return the rows that are read at a time."""
        count = len(self.updates)
        size = count if together else min(_APART, count)
        return [range(first, min(first + size, count)) for first in range(0, count, size)]

    def ranges(self, run: Run, *, together: bool) -> Iterator[tuple[int, int]]:
        """Yield (first, last + 1) of neighbouring elements: a power of two of them, so that a group's rows fit the buffer."""
        rows = len(self.groups(together=together)[0])
        fitting = max(UNIT, self._memory // (rows * run.dtype.itemsize))
        length = min(_LONGEST, 1 << fitting.bit_length() - 1)
        for first in range(0, run.count, length):
            yield first, min(first + length, run.count)

    def read(
        self,
        rows: range,
        run: Run,
        first: int,
        last: int,
        passage: Passage | None = None,
    ) -> NDArray[Any]:
        """Return some rows of a range, (rows, last - first); the array holds until this thread's next call.

        Args:
            rows: Which.
            run: The run of numbers.
            first: The first element of the range.
            last: One past the last.
            passage: The range's way, where threads read several ranges at once.

        Raises:
            UpdateError: A file cannot be read.
        """
        size = (last - first) * run.dtype.itemsize
        offset = run.begin + first * run.dtype.itemsize
        buffer = self._buffers.get(len(rows), size, offset)
        found: NDArray[Any] = buffer.bytes.view(run.dtype)
        parts = buffer.rows
        scaled = run.dtype.kind == "f" and bool(self._scales)
        full = self._crew.size == 1 and self._read_at_once(rows, parts, offset)

        def take(number: int) -> None:
            at = number - rows.start
            if not full:
                self._fill(number, parts[at][0], offset)
            if self._hashers[number] is not None:
                with passage.at((id(self), number)) if passage is not None else nullcontext():
                    self._hash(number, parts[at][0], offset)
            if scaled and self._scales[number] != 1:
                np.multiply(found[at], self._scales[number], out=found[at], dtype=np.float64, casting="same_kind")

        if not full or scaled or any(self._hashers):
            self._collect(take, rows)
        return found

    def pass_over(self, run: Run | None) -> None:
        """Read a run that a pass does not look at, so that its bytes are hashed."""
        if run is not None and any(self._hashers):
            for first, last in self.ranges(run, together=False):
                for group in self.groups(together=False):
                    self.read(group, run, first, last)

    def close_books(self) -> None:
        """Compare every file's digest with the one that it names.

        Raises:
            UpdateError: Files are not what their records say.
        """
        reasons = {}
        for update, hasher, hashed in zip(self.updates, self._hashers, self._hashed, strict=True):
            if hasher is None:
                continue
            if hashed != self._layout.size:
                msg = f"{hashed} of {self._layout.size} bytes of the update of {update.site} were hashed"
                raise AssertionError(msg)
            if hasher.hexdigest() != update.sha256:
                reasons[update.site] = _other_digest(update, hasher.hexdigest())
        if reasons:
            raise UpdateError(reasons)

    def refuse(self, rows: Iterable[int], run: Run, first: int, last: int) -> NoReturn:
        """Raise the error about rows that are not finite somewhere in a range; a file with another digest is refused for that."""
        reasons = {}
        for number in rows:
            update = self.updates[number]
            if update.sha256 and (found := tensors.measure(update.path).sha256) != update.sha256:
                reasons[update.site] = _other_digest(update, found)
                continue
            values = self.read(range(number, number + 1), run, first, last)[0]
            position = run.begin - len(self._layout.header) + run.dtype.itemsize * (first + int(np.argmin(np.isfinite(values))))
            name = next(item.name for item in self._layout.tensors if item.begin <= position < item.end)
            reasons[update.site] = f"the update of {update.site} holds NaN or infinity in tensor {name}"
        raise UpdateError(reasons)

    def _collect(self, work: Callable[[int], None], rows: range | None = None) -> None:
        """Do something with every row, and raise one error about all that fail."""
        rows = range(len(self.updates)) if rows is None else rows
        reasons: dict[str, str] = {}

        def attempt(number: int) -> None:
            site = self.updates[rows[number]].site
            try:
                work(rows[number])
            except TensorError as error:
                reasons[site] = f"the update of {site}: {error}"
            except OSError as error:
                reasons[site] = f"the update of {site} cannot be read: {error.strerror}"

        self._crew.each(len(rows), attempt)
        if reasons:
            raise UpdateError(dict(sorted(reasons.items())))

    def _read_at_once(self, rows: range, parts: Sequence[tuple[memoryview]], offset: int) -> bool:
        """Read parts of open files with no Python between the calls; tell whether all are full."""
        if rows.stop > len(self._open):
            return False
        try:
            done = sum(map(os.preadv, map(self._open.__getitem__, rows), parts, repeat(offset)))
        except OSError:
            return False
        return done == len(parts) * len(parts[0][0])

    def _check_header(self, number: int) -> None:
        header = bytearray(len(self._layout.header))
        self._fill(number, memoryview(header), 0)
        self._hash(number, memoryview(header), 0)
        if header != self._layout.header:
            with self.updates[number].path.open("rb") as file:
                raise TensorError(self._departure(file) or "its header changed while it was read")

    def _departure(self, file: BinaryIO) -> str:
        """Say how a file's header departs from the layout; empty where it does not."""
        difference = self._layout.difference(tensors.read_layout(file))
        return difference and f"not the federation's model: {difference}"

    def _fill(self, number: int, view: memoryview, offset: int) -> None:
        """Read bytes of one file."""
        kept = self._open.get(number)
        descriptor = self._opened(number) if kept is None else kept
        try:
            done = 0
            while done < len(view):
                count = os.preadv(descriptor, [view[done:]], offset + done)
                if not count:
                    msg = f"cut off after {offset + done} bytes, expected {self._layout.size}"
                    raise TensorError(msg)
                done += count
        finally:
            if number not in self._open:
                os.close(descriptor)

    def _hash(self, number: int, view: memoryview, offset: int) -> None:
        """Hash bytes of one file if they are the next that were not hashed before."""
        hasher = self._hashers[number]
        if hasher is not None and offset == self._hashed[number]:
            hasher.update(view)
            self._hashed[number] += len(view)

    def _opened(self, number: int) -> int:
        """Open a file, for the whole pass if it is among the first; only a regular one of the right size is opened."""
        descriptor = os.open(self.updates[number].path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        found = os.fstat(descriptor)  # a pipe that a peer has put there must not be waited for
        if not stat.S_ISREG(found.st_mode) or found.st_size != self._layout.size:
            try:
                departure = ""
                if stat.S_ISREG(found.st_mode):  # its header tells more than its size
                    with os.fdopen(descriptor, "rb", closefd=False) as file:
                        departure = self._departure(file)
            finally:
                os.close(descriptor)
            raise TensorError(departure or f"{found.st_size} bytes, expected {self._layout.size}")
        if len(self._open) < self._most:
            self._open[number] = descriptor
            tensors.read_sequentially(descriptor)
        return descriptor


def _most_open() -> int:
    """Return how many files a pass keeps open: a quarter of what the process may, since rounds are replayed side by side."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_OPEN if soft == resource.RLIM_INFINITY else min(_MOST_OPEN, soft // 4)


def _other_digest(update: Update, found: str) -> str:
    expected = (update.sha256 or "")[:12]
    return f"{update.path.name} of {update.site}: SHA-256 {found[:12]}, expected {expected}, which its record names"

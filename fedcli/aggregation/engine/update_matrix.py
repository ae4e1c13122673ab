"""The files of many updates as the rows of a matrix, read once, in bounded memory, by several threads.

Canonical files of one layout hold the same tensors at the same bytes. So after one comparison of headers only flat sections of
numbers remain: the integers, then the floats. Each file is a row. A thread that is free takes the next range of columns, reads it
from all files, and computes. A file that names its digest is hashed in the same pass.

The number of open descriptors is bounded, whatever the number of files. A thread's buffer has 7 MiB, or for more than 300 files
24 KiB for each.
"""

from __future__ import annotations

import os
import resource
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from fedcli.aggregation.engine.columns import UNIT, Columns
from fedcli.aggregation.engine.ordered_stages import OrderedStages
from fedcli.aggregation.engine.update_file import UpdateFile
from fedcli.aggregation.update import UpdateError, sections

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from fedcli.aggregation.update import Section, Update
    from fedcli.tensors import Layout

_Result = TypeVar("_Result")

_MEMORY = 7 << 20
"""Bytes of numbers that a thread reads before it computes: what the processor's cache keeps for it."""
_SHORTEST = 24 << 10
"""Bytes of each file in a range, at least: shorter ones take longer to ask for than to read."""
_LONGEST = 1 << 18
"""Columns of a range, at most."""
_PIECE = 8192
"""Columns that numpy converts at a time: longer ranges are multiples of it."""
_MOST_OPEN = 1024
"""Files that stay open, at most."""


class UpdateMatrix:
    """Updates of one layout, open for one pass.

    Args:
        updates: In the order of the rows.
        layout: What every file must hold.
        threads: The number of threads that read and compute.
        memory: Bytes of numbers that each thread reads at a time, if UNIT columns fit; None suits the processor.
        scales: What each row of floats is multiplied by, rounded to float32; 1 leaves it as it is.

    Attributes:
        integers: The section of I64; None where the layout has none.
        floats: The section of F32; None where the layout has none.

    Raises:
        TensorError: The layout has a tensor of another dtype.
    """

    def __init__(
        self,
        updates: Sequence[Update],
        layout: Layout,
        threads: int,
        *,
        memory: int | None = None,
        scales: Sequence[float] = (),
    ) -> None:
        self.integers, self.floats = sections(layout)
        most = _most_open()
        self._files = [UpdateFile(update, layout, keep_open=number < most) for number, update in enumerate(updates)]
        self._pool = ThreadPoolExecutor(threads)
        self._memory = max(_MEMORY, _SHORTEST * len(updates)) if memory is None else memory
        self._scales = scales
        self._scaled = any(scale != 1 for scale in scales)
        self._hashed = any(update.sha256 for update in updates)

    def __enter__(self) -> Self:
        reasons: dict[str, str] = {}
        for file in self._files:
            try:
                file.check_header()
            except UpdateError as error:
                reasons |= error.reasons
        if reasons:
            self.__exit__()
            raise UpdateError(dict(sorted(reasons.items())))
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for file in self._files:
            file.close()

    def __len__(self) -> int:
        return len(self._files)

    def run(
        self,
        section: Section | None,
        work: Callable[[Columns], _Result],
        finish: Callable[[_Result], None],
        *,
        longest: int = _LONGEST,
    ) -> None:
        """Read a section range by range, and compute on each.

        Args:
            section: None has no ranges.
            work: What to compute on a range, in any order and several at a time.
            finish: What to do with what `work` returned, in the order of the ranges; the numbers are overwritten afterwards.
            longest: The number of columns of a range, at most.

        Raises:
            UpdateError: Files cannot be read.
        """
        if section is None:
            return
        fitting = max(UNIT, self._memory // (len(self) * section.dtype.itemsize))
        length = min(fitting // _PIECE * _PIECE or fitting // UNIT * UNIT, longest, section.count)
        stages = OrderedStages()
        spare: list[Columns] = []

        def attempt(first: int) -> None:
            columns = spare.pop() if spare else Columns(section, length, len(self))
            try:
                columns.move(first, min(length, section.count - first))
                self._read(columns, stages)
                result = work(columns)
                with stages.stage("finish", first, columns.count):
                    finish(result)
            except BaseException as error:
                stages.fail(error)
                raise
            finally:
                spare.append(columns)

        for _ in self._pool.map(attempt, range(0, section.count, length)):
            pass

    def skip(self, section: Section | None) -> None:
        """Read a section that a pass has no use for, so that its bytes are hashed."""
        if self._hashed:
            self.run(section, lambda _: None, lambda _: None)

    def check_digests(self) -> None:
        """Compare the digest of every file, of which all sections were read, with the one that it names.

        Raises:
            UpdateError: Files are not what their records say.
        """
        _refuse({file.update.site: reason for file in self._files if (reason := file.wrong_digest())})

    def require_finite(self, finite: NDArray[np.bool_], columns: Columns) -> None:
        """Refuse the files with numbers in a range that are not finite.

        Raises:
            UpdateError: There are such files.
        """
        reasons = {}
        for number in np.flatnonzero(~finite):
            file, column = self._files[number], int(np.argmin(np.isfinite(columns.rows[number])))
            reasons[file.update.site] = file.not_finite(columns.tensor_at(column))
        _refuse(reasons)

    def _read(self, columns: Columns, stages: OrderedStages) -> None:
        """Read, hash and scale a range of all files."""
        full = self._read_at_once(columns)
        scaled = self._scaled and columns.section.dtype.kind == "f"
        if full and not self._hashed and not scaled:
            return
        for number, (file, (part,)) in enumerate(zip(self._files, columns.parts, strict=True)):
            if not full:
                file.read(part, columns.offset)
            if file.hasher is not None:
                with stages.stage(number, columns.first, columns.count):
                    file.hasher.update(part)
            if scaled and self._scales[number] != 1:
                row = columns.rows[number]
                np.multiply(row, self._scales[number], out=row, dtype=np.float64, casting="same_kind")

    def _read_at_once(self, columns: Columns) -> bool:
        """Read a range of files that are all open, with no Python between the calls; tell whether all parts are full."""
        descriptors = [file.descriptor for file in self._files if file.descriptor is not None]
        if len(descriptors) < len(self):
            return False
        try:
            done = sum(map(os.preadv, descriptors, columns.parts, repeat(columns.offset)))
        except OSError:
            return False
        return done == len(self) * columns.parts[0][0].nbytes


def _refuse(reasons: dict[str, str]) -> None:
    if reasons:
        raise UpdateError(reasons)


def _most_open() -> int:
    """Return how many files a pass keeps open: a quarter of what the process may, since rounds are replayed side by side."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_OPEN if soft == resource.RLIM_INFINITY else min(_MOST_OPEN, soft // 4)

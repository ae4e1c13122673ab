"""The files of many updates as the rows of a matrix, read once, in bounded memory, by several threads.

Canonical files of one layout hold the same tensors at the same positions. So once the headers are compared, each file is a row of
numbers: a section of integers and one of floats. A free thread takes the next range of columns, reads it from all files, and
computes. A file with a given digest is hashed in the same pass.

The number of open files is bounded. Each thread holds 7 MiB of numbers, or 12 KiB for each file if that is more.
"""

from __future__ import annotations

import os
import resource
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from fedcli.aggregation.engine.column_range import UNIT, ColumnRange
from fedcli.aggregation.engine.ordered_stages import OrderedStages
from fedcli.aggregation.engine.update_file import UpdateFile
from fedcli.aggregation.update import UpdateError, sections

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from fedcli.aggregation.update import Section, Update
    from fedcli.tensors import Layout

_Result = TypeVar("_Result")

_MEMORY = 7 << 20
"""Bytes of numbers that a thread holds: they stay in the processor's cache while it computes."""
_SHORTEST = 12 << 10
"""Bytes of each file that a thread reads at a time, at least: a shorter read takes longer to request than to do."""
_LONGEST = 1 << 18
"""Columns of a range, at most."""
_MOST_OPEN = 1024
"""Files that are kept open, at most."""


class UpdateMatrix:
    """Updates of one layout, opened for one pass.

    Args:
        updates: In the order of the rows.
        layout: What every file must hold.
        threads: The number of threads that read and compute.
        memory: Bytes of numbers that each thread holds, but at least UNIT columns; None chooses what suits the processor's cache.
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
        self._threads = threads
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
        work: Callable[[ColumnRange], _Result],
        finish: Callable[[_Result], None],
        *,
        longest: int = _LONGEST,
    ) -> None:
        """Read a section range by range.

        Args:
            section: The section; None has no ranges.
            work: Computes on a range; called in any order, in several threads at once.
            finish: Takes what `work` returned; called in the order of the ranges. Afterwards the numbers are overwritten.
            longest: The number of columns of a range, at most.

        Raises:
            UpdateError: Files cannot be read.
        """
        if section is None:
            return
        fitting = max(UNIT, self._memory // (len(self) * section.dtype.itemsize))
        length = min(fitting // UNIT * UNIT, longest, section.count)
        firsts = iter(range(0, section.count, length))  # shared by the threads: each takes the next range when it is free
        stages = OrderedStages()

        def work_on_ranges() -> None:
            columns = ColumnRange(section, length, len(self))
            try:
                for first in firsts:
                    columns.move(first, min(length, section.count - first))
                    self._read(columns, stages)
                    result = work(columns)
                    with stages.stage("finish", first, columns.count):
                        finish(result)
            except BaseException as error:
                stages.fail(error)
                raise

        others = [self._pool.submit(work_on_ranges) for _ in range(self._threads - 1)]
        work_on_ranges()
        for other in others:
            other.result()

    def skip(self, section: Section | None) -> None:
        """Hash a section that a pass does not need."""
        if self._hashed:
            self.run(section, lambda _: None, lambda _: None)

    def check_digests(self) -> None:
        """Compare the digests of the files with the given ones; all sections must have been read.

        Raises:
            UpdateError: Files have another digest.
        """
        _refuse({file.update.site: reason for file in self._files if (reason := file.wrong_digest())})

    def require_finite(self, finite: NDArray[np.bool_], columns: ColumnRange) -> None:
        """Refuse the files that are not `finite` in a range.

        Raises:
            UpdateError: There are such files.
        """
        faults = {}
        for number in np.flatnonzero(~finite).tolist():
            column = int(np.argmin(np.isfinite(columns.rows[number])))
            faults[number] = f"holds NaN or infinity in tensor {columns.tensor_at(column)}"
        self.refuse(faults)

    def refuse(self, faults: Mapping[int, str]) -> None:
        """Refuse files by their rows, each for a fault; if the first file or one of these has a wrong digest, for that.

        Raises:
            UpdateError: There are faults.
        """
        if not faults:
            return
        if 0 not in faults and (wrong := self._files[0].wrong_now()):
            _refuse({self._files[0].update.site: wrong})  # the faults of the others may follow from it
        named = [(self._files[number], fault) for number, fault in faults.items()]
        _refuse({file.update.site: file.wrong_now() or f"the update of {file.update.site} {fault}" for file, fault in named})

    def column(self, columns: ColumnRange, number: int) -> NDArray[np.float32]:
        """Return one column of a range of floats as the files have it, read again and scaled."""
        values = np.empty(len(self), columns.section.dtype)
        for row, file in enumerate(self._files):
            file.read(values[row : row + 1].data, columns.offset + number * columns.section.dtype.itemsize)
        scales = np.array(self._scales or [1.0] * len(self))
        scaled: NDArray[np.float32] = np.multiply(values, scales, dtype=np.float64).astype(np.float32)
        return scaled

    def _read(self, columns: ColumnRange, stages: OrderedStages) -> None:
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

    def _read_at_once(self, columns: ColumnRange) -> bool:
        """Read a range of all files if all are open, with no Python between the calls; tell whether that succeeded."""
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
    """Return how many files a pass may keep open: a quarter of the limit, since rounds are replayed in parallel."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_OPEN if soft == resource.RLIM_INFINITY else min(_MOST_OPEN, soft // 4)

"""The file of a new model: hashed while it is written, and complete and flushed to the disk before it gets its name."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING, Self

from fedcli.disk import Measured

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.tensors import Layout

_STRETCH = 1 << 21
"""Bytes that the system is told to write to the disk together."""

_CANNOT = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""Errors of file systems that cannot reserve space."""


class Output:
    """A file that has its name only if it is complete and flushed to the disk.

    Args:
        target: Where it goes; None hashes only.
        layout: What it will hold. Its size is reserved on the disk, and its header written, on entering.
    """

    def __init__(self, target: Path | None, layout: Layout) -> None:
        self._target = target
        self._layout = layout
        self._partial = target.with_name(f".{target.name}.partial") if target is not None else None
        self._file = self._partial.open("wb", buffering=0) if self._partial is not None else None
        self._hasher = hashlib.sha256()
        self._size = 0
        self._flushing = 0

    def __enter__(self) -> Self:
        try:
            if self._file is not None:
                _reserve(self._file.fileno(), self._layout.size)
            self.write(self._layout.header)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None and self._partial is not None:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def write(self, data: memoryview | bytes) -> None:
        """Write the next bytes."""
        view = memoryview(data).cast("B")
        self._hasher.update(view)
        self._size += len(view)
        while self._file is not None and len(view):
            view = view[self._file.write(view) :]
        if self._size - self._flushing >= _STRETCH:
            self._start_flushing()

    def _start_flushing(self) -> None:
        """Let the system start to write to the disk, so that there is less to wait for at the end."""
        if self._file is not None and hasattr(os, "posix_fadvise"):
            length = self._size - self._flushing
            os.posix_fadvise(self._file.fileno(), self._flushing, length, os.POSIX_FADV_DONTNEED)
        self._flushing = self._size

    def finish(self) -> Measured:
        """Flush the file and give it its name; return its size and digest."""
        if self._file is not None and self._partial is not None and self._target is not None:
            os.fsync(self._file.fileno())
            self._partial.rename(self._target)
        return Measured(size=self._size, sha256=self._hasher.hexdigest())


def _reserve(descriptor: int, size: int) -> None:
    """Reserve space on the disk if the file system can.

    Raises:
        OSError: The disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise

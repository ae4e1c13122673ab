"""A model in the making: hashed while it is written, whole and flushed to the disk before it has its name."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING, Self

from fedcli.tensors import Measured

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.tensors import Layout

_STRETCH = 1 << 21
"""Bytes that are sent on their way to the disk together."""

_CANNOT = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What a file system says that has no such call; its files grow as they are written."""


class Output:
    """A file that is whole, flushed to the disk and under its name, or not there.

    Args:
        target: Where it goes; None hashes only.
        layout: What it will hold; its header is written at once, and the rest of its size is reserved.

    Raises:
        OSError: The disk has no room for it.
    """

    def __init__(self, target: Path | None, layout: Layout) -> None:
        self._target = target
        self._layout = layout
        self._partial = target.with_name(f".{target.name}.partial") if target is not None else None
        self._file = self._partial.open("wb", buffering=0) if self._partial is not None else None
        self._hasher = hashlib.sha256()
        self._size = 0
        self._on_its_way = 0

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
        """Take the next bytes."""
        view = memoryview(data).cast("B")
        self._hasher.update(view)
        self._size += len(view)
        while self._file is not None and len(view):
            view = view[self._file.write(view) :]
        if self._size - self._on_its_way >= _STRETCH:
            self._send_on_its_way()

    def _send_on_its_way(self) -> None:
        """Let the system begin to write to the disk what it would else keep until the end, when it would be waited for."""
        if self._file is not None and hasattr(os, "posix_fadvise"):
            length = self._size - self._on_its_way
            os.posix_fadvise(self._file.fileno(), self._on_its_way, length, os.POSIX_FADV_DONTNEED)
        self._on_its_way = self._size

    def finish(self) -> Measured:
        """Give the file its name; return its size and digest."""
        if self._file is not None and self._partial is not None and self._target is not None:
            os.fsync(self._file.fileno())
            self._partial.rename(self._target)
        return Measured(size=self._size, sha256=self._hasher.hexdigest())


def _reserve(descriptor: int, size: int) -> None:
    """Reserve the disk space for a file where the file system can, so that it does not have to grow as it is written."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise

"""A model in the making: written and hashed by a thread of its own while the next part is computed."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from fedcli.tensors import Measured

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path


class Output:
    """A file that is whole, flushed to the disk and under its name, or not there.

    Args:
        target: Where it goes; None hashes only.
    """

    def __init__(self, target: Path | None) -> None:
        self._target = target
        self._partial = target.with_name(f".{target.name}.partial") if target is not None else None
        self._file = self._partial.open("wb", buffering=0) if self._partial is not None else None
        self._hasher = hashlib.sha256()
        self._size = 0
        self._writer = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown()
        if self._file is not None and self._partial is not None:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def write(self, data: memoryview | bytes) -> None:
        """Take the next bytes, which must not be changed any more; at most one part waits."""
        self._settle()
        self._pending = self._writer.submit(self._take, memoryview(data).cast("B"))

    def finish(self) -> Measured:
        """Give the file its name; return its size and digest."""
        self._settle()
        if self._file is not None and self._partial is not None and self._target is not None:
            os.fsync(self._file.fileno())
            self._partial.rename(self._target)
        return Measured(size=self._size, sha256=self._hasher.hexdigest())

    def _settle(self) -> None:
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _take(self, data: memoryview) -> None:
        self._hasher.update(data)
        self._size += len(data)
        while self._file is not None and len(data):
            data = data[self._file.write(data) :]

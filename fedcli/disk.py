"""Files on the disk: written whole, flushed, and measured by size and SHA-256."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import BufferedReader
    from pathlib import Path

CHUNK_BYTES = 1 << 20
_NOT_FLUSHED = {errno.EINVAL, errno.ENOTSUP}
"""What a file system answers that cannot flush a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The size in bytes and the SHA-256 of a file, measured here."""

    size: int
    sha256: str


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk; some file systems flush no folders, and need not be told to."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_FLUSHED or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file that is whole or not there: a temporary file beside it is flushed to the disk and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_blocks(path: Path, blocks: Iterable[bytes]) -> Measured:
    """Write a new file block by block, and return its size and digest."""
    hasher = hashlib.sha256()
    size = 0
    with path.open("xb") as file:
        for block in blocks:
            hasher.update(block)
            size += file.write(block)
    return Measured(size=size, sha256=hasher.hexdigest())


def read_sequentially(descriptor: int) -> None:
    """Tell the system that a file is read from its beginning to its end, so that it reads ahead."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)


def open_regular(path: Path) -> BufferedReader:
    """Open a file that somebody else can replace at any time: a pipe would be waited for, a link leads elsewhere.

    Raises:
        OSError: It is no regular file, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def measure(path: Path) -> Measured:
    """Return a file's size and SHA-256, reading it in constant memory."""
    with path.open("rb") as file:
        return measure_open(file)


def measure_open(file: BufferedReader) -> Measured:
    """Return the size and SHA-256 of a file that is open at its beginning."""
    read_sequentially(file.fileno())
    hasher = hashlib.file_digest(file, "sha256")
    return Measured(size=file.tell(), sha256=hasher.hexdigest())

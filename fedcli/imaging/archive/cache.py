"""The results of reading files: an interrupted run continues where it was, and of a grown archive only new files are read.

One SQLite file that only its owner can read. An entry is valid for a path with the same size and time of change; with other
settings or package versions, the cache starts empty again. It can be deleted at any time.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from fedcli import wire
from fedcli.errors import DataError
from fedcli.imaging.archive.file_result import FileResult, FileStamp
from fedcli.imaging.mammogram import ImageMetadata
from fedcli.imaging.rejection import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fedcli.plan import Images

_METADATA = tuple(field.name for field in fields(ImageMetadata))
_COLUMNS = ", ".join(("reason", "image", *_METADATA))
_NOT_KEPT = {
    *(Reason.UNREADABLE, Reason.CRASHED, Reason.TOO_SLOW, Reason.TOO_LARGE, Reason.UNSUPPORTED),
    *(Reason.ZIP_DAMAGED, Reason.ZIP_ENCRYPTED, Reason.ZIP_NESTED, Reason.ZIP_METHOD, Reason.ZIP_LIMIT),
}
"""What may differ the next time, because it depends on the machine, or on the zip archive, and not on the file."""
_TRANSACTION = 64
"""Files whose results are lost at most in a power cut."""


class Cache:
    """The results of reading, by path within the archive.

    One process has it open at a time.
    """

    def __init__(self, path: Path, images: Images) -> None:
        self._path = path
        self._settings = wire.sha256("\n".join((wire.digest(images), *_METADATA, *map(str, versions().items()))).encode())
        self._pending = 0
        with self._errors_explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._opened()

    def get(self, file: str, stamp: FileStamp) -> FileResult:
        """Return the result of a file that is in the cache."""
        with self._errors_explained():
            row = self._connection.execute(
                f"SELECT {_COLUMNS} FROM files WHERE file = ? AND size = ? AND changed = ?",  # noqa: S608 - our own names
                (_encoded(file), stamp.size, stamp.changed),
            ).fetchone()
        reason, image, *values = row
        stated: dict[str, Any] = {name: _decoded(value) for name, value in zip(_METADATA, values, strict=True)}
        metadata = None if stated["patient"] is None else ImageMetadata(**stated)
        return FileResult(stamp=stamp, metadata=metadata, image=image, reason=Reason(reason) if reason else None)

    def has(self, file: str, stamp: FileStamp) -> bool:
        """Return whether a file is in the cache."""
        with self._errors_explained():
            statement = "SELECT 1 FROM files WHERE file = ? AND size = ? AND changed = ?"
            return self._connection.execute(statement, (_encoded(file), stamp.size, stamp.changed)).fetchone() is not None

    def put(self, file: str, result: FileResult) -> None:
        """Keep the result of a file, unless it may differ the next time."""
        if result.stamp is None or result.reason in _NOT_KEPT:
            return
        values = [_encoded(getattr(result.metadata, name, None)) for name in _METADATA]
        row = (_encoded(file), result.stamp.size, result.stamp.changed, result.reason or "", result.image, *values)
        with self._errors_explained():
            self._connection.execute(f"INSERT OR REPLACE INTO files VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
            self._pending += 1
            if self._pending >= _TRANSACTION:
                self._connection.commit()
                self._pending = 0

    def keep_only(self, files: Sequence[str]) -> None:
        """Remove files that are gone."""
        known = set(map(_encoded, files))
        with self._errors_explained():
            gone = [row for row in self._connection.execute("SELECT file FROM files") if row[0] not in known]
            self._connection.executemany("DELETE FROM files WHERE file = ?", gone)

    def close(self) -> None:
        """Write pending results and close the file."""
        with self._errors_explained():
            try:
                self._connection.commit()
            finally:
                self._connection.close()

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connected()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self._path.unlink()  # damaged; everything in it can be read again
            return self._connected()

    def _connected(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self._path, isolation_level="DEFERRED")
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("CREATE TABLE IF NOT EXISTS settings (digest TEXT)")
            if connection.execute("SELECT digest FROM settings").fetchall() != [(self._settings,)]:
                connection.execute("DELETE FROM settings")
                connection.execute("DROP TABLE IF EXISTS files")
                connection.execute(f"CREATE TABLE files (file BLOB PRIMARY KEY, size, changed, {_COLUMNS})")
                connection.execute("INSERT INTO settings VALUES (?)", (self._settings,))
                connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            msg = f"{self._path}: the cache of files read cannot be used: {error}"
            raise DataError(msg, hint="is the disk full? You can delete the file; prepare then reads everything again") from error


def _encoded(value: object) -> object:
    """Return text as bytes, because a header's text need not be UTF-8."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _decoded(value: object) -> object:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


_PACKAGES = ("fedcli", "imagecodecs", "numpy", "opencv-python-headless", "pillow", "pydicom", "pylibjpeg-openjpeg", "python-gdcm")


def versions() -> dict[str, str]:
    """Return the version of each package, '' where it is missing."""
    return {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""

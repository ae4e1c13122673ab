"""What was read of each file, kept: an interrupted run goes on where it was, a grown archive costs its new files alone.

One SQLite file that only its owner can read. An entry holds for a path of the same size and time of change, under the same
settings and versions; with others, the cache begins anew. It can be deleted at any time.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from fedcli import wire
from fedcli.errors import DataError
from fedcli.imaging.archive.outcome import Outcome, Stamp
from fedcli.imaging.dicom.mammogram import Facts
from fedcli.imaging.rejection import Reason
from fedcli.imaging.versions import versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fedcli.plan import Images

_FACTS = tuple(field.name for field in fields(Facts))
_COLUMNS = ", ".join(("reason", "image", *_FACTS))
_NOT_KEPT = {Reason.UNREADABLE, Reason.CRASHED, Reason.TOO_SLOW, Reason.TOO_LARGE, Reason.UNSUPPORTED}
"""What may be otherwise the next time: the machine's doing, not the file's."""
_TRANSACTION = 64
"""Files whose results a power cut may cost."""


class Cache:
    """The results of reading, by path within the archive.

    One process has it open at a time.
    """

    def __init__(self, path: Path, images: Images) -> None:
        self._path = path
        self._settings = wire.sha256("\n".join((wire.digest(images), *_FACTS, *map(str, versions().items()))).encode())
        self._pending = 0
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._opened()

    def get(self, file: str, stamp: Stamp) -> Outcome:
        """Return what was read of a file that the cache has."""
        with self._explained():
            row = self._connection.execute(
                f"SELECT {_COLUMNS} FROM files WHERE file = ? AND size = ? AND changed = ?",  # noqa: S608 - our own names
                (os.fsencode(file), stamp.size, stamp.changed),
            ).fetchone()
        reason, image, *values = row
        if reason:
            return Outcome(stamp=stamp, reason=Reason(reason))
        known: dict[str, Any] = {name: _decoded(value) for name, value in zip(_FACTS, values, strict=True)}
        facts = Facts(**known)
        return Outcome(stamp=stamp, facts=facts, image=image)

    def has(self, file: str, stamp: Stamp) -> bool:
        """Tell whether a file was read."""
        with self._explained():
            statement = "SELECT 1 FROM files WHERE file = ? AND size = ? AND changed = ?"
            return self._connection.execute(statement, (os.fsencode(file), stamp.size, stamp.changed)).fetchone() is not None

    def put(self, file: str, outcome: Outcome) -> None:
        """Keep what was read of a file, unless that may be otherwise the next time."""
        if outcome.stamp is None or outcome.reason in _NOT_KEPT:
            return
        values = [_encoded(getattr(outcome.facts, name, None)) for name in _FACTS]
        row = (os.fsencode(file), outcome.stamp.size, outcome.stamp.changed, outcome.reason or "", outcome.image, *values)
        with self._explained():
            self._connection.execute(f"INSERT OR REPLACE INTO files VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
            self._pending += 1
            if self._pending >= _TRANSACTION:
                self._connection.commit()
                self._pending = 0

    def keep_only(self, files: Sequence[str]) -> None:
        """Forget files that are gone."""
        known = set(map(os.fsencode, files))
        with self._explained():
            gone = [row for row in self._connection.execute("SELECT file FROM files") if row[0] not in known]
            self._connection.executemany("DELETE FROM files WHERE file = ?", gone)

    def close(self) -> None:
        """Write what is pending."""
        with self._explained():
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
            self._path.unlink()  # damaged, and nothing that cannot be read again
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
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            msg = f"{self._path}: what was read cannot be kept: {error}"
            raise DataError(msg, hint="is the disk full? The file may be deleted; prepare then reads everything again") from error


def _encoded(value: object) -> object:
    """A header's text need not be UTF-8: it is kept as bytes."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _decoded(value: object) -> object:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value

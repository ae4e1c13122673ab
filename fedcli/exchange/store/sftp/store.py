"""A drop folder on an SFTP server.

Whatever has a final name is whole: bytes go to a new temporary file in the same folder, every write is acknowledged, the size is
compared, and then the file gets its name by one rename: the plain one for records, which fails if the name is taken, and the
replacing one for artifacts (same name, same bytes). All of this may be done twice, so work during which the connection is lost is
done again, once, on a new connection. Silence is not waited for a second time.
"""

from __future__ import annotations

import errno
import io
import stat
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

from fedcli import machine_errors
from fedcli.errors import ConflictError, MissingError, StoreError, UsageError
from fedcli.exchange.store.base import check_size, checked_key, new_file, prove_create_once, removable_key, write_received
from fedcli.exchange.store.read_ahead import LONGEST, ReadAhead
from fedcli.exchange.store.sftp import answers, remote_files
from fedcli.exchange.store.sftp.connection import FAILURES, LOSSES, Session
from fedcli.exchange.store.sftp.login import Login
from fedcli.exchange.store.sftp.walk import can_be_listed, walk
from fedcli.progress import BYTES, Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.exchange.store.base import StoreOptions
    from fedcli.exchange.store.listing import Listing
    from fedcli.exchange.store.rights import Rights
    from fedcli.progress import Progress

T = TypeVar("T")

_HOME = "/~/"


class SftpStore:
    """A folder on an SFTP server: sftp://user@host:port/path, or /~/path for one in the account's home."""

    def __init__(self, address: str, options: StoreOptions, progress: Progress | None = None) -> None:
        parts = urlsplit(address)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if not parts.hostname or not parts.path or port == 0 or parts.password is not None or parts.query or parts.fragment:
            msg = f"{address}: expected sftp://user@host:port/path, and no password"
            raise UsageError(msg, hint="log in with a key: ssh_key in workspace.toml, an agent, or ~/.ssh/config")
        path = unquote(parts.path)
        self._address = address
        self._root = (path.removeprefix(_HOME) or "." if path.startswith(_HOME) else path).rstrip("/")
        self._options = options
        self._login = Login.of(parts.hostname, port, unquote(parts.username or ""), options.ssh_key)
        self._progress = progress or Silent()
        self._lock = threading.RLock()  # one call at a time uses the session
        self._session: Session | None = None
        self._ahead = ReadAhead(self._read_ahead)

    @property
    def address(self) -> str:
        """The URL."""
        return self._address

    def put_artifact(self, key: str, source: Path) -> None:
        """Upload a file; see `Store`."""
        path = self._path(key)

        def put(session: Session) -> None:
            size = source.stat().st_size
            with (
                source.open("rb") as file,
                remote_files.temporary(session, path) as name,
                self._progress.track(f"sending {path.rpartition('/')[2]}", size, BYTES) as advance,
            ):
                remote_files.upload(session, file, size, name, advance)
                try:
                    session.sftp.posix_rename(name, path)
                except OSError:  # a server without OpenSSH's extension
                    if not session.alive:
                        raise
                    with suppress(FileNotFoundError):
                        session.sftp.remove(path)
                    session.sftp.rename(name, path)

        self._attempt(key, put)

    def remove_artifact(self, key: str) -> None:
        """Remove a file; see `Store`."""
        self._remove(removable_key(key))

    def publish(self, key: str, data: bytes) -> None:
        """Create a record once; see `Store`."""
        path = self._path(key)

        def create(session: Session) -> None:
            with remote_files.temporary(session, path) as name:
                remote_files.upload(session, io.BytesIO(data), len(data), name, lambda _units, _note: None)
                try:
                    session.sftp.rename(name, path)
                except OSError as error:
                    if not session.alive:
                        raise
                    try:
                        present = remote_files.content(session, self._root, key, len(data) + 1)
                    except FileNotFoundError:
                        raise error from None
                    if present != data:
                        msg = f"{key}: already published with other content"
                        raise ConflictError(msg) from None
                    session.sftp.remove(name)

        self._attempt(key, create)

    def fetch(self, key: str, target: Path, limit: int) -> Measured:
        """Download a file, hashing what is written; see `Store`."""
        path = self._path(key)

        def get(session: Session) -> Measured:
            with machine_errors.writing(target):
                copy.seek(0)
                copy.truncate()
            size = remote_files.size_of(session, self._root, key)
            check_size(key, size, limit)
            with (
                session.open(path, "r") as file,
                self._progress.track(f"fetching {path.rpartition('/')[2]}", size, BYTES) as advance,
            ):
                return write_received(key, remote_files.pieces(session, file, size), copy, limit, advance)

        if self.stat(key) is None:  # before the copy is created
            raise self._missing(key)
        with new_file(target) as copy:
            return self._attempt(key, get, reading=True)

    def read(self, key: str, limit: int) -> bytes:
        """Read a small file; see `Store`."""
        data = self._ahead.read(checked_key(key))
        if data is None:
            data = self._attempt(key, lambda session: remote_files.content(session, self._root, key, limit + 1), reading=True)
        check_size(key, len(data), limit)
        return data

    def read_soon(self, keys: Sequence[str]) -> None:
        """Read small files, many at once; see `Store`."""
        self._ahead.fetch(keys)

    def list(self, prefix: str) -> tuple[str, ...]:
        """List keys; see `Store`."""
        return self._walk((prefix,), None)[prefix].complete(self._address)

    def list_each(self, prefixes: Sequence[str], limit: int, *, from_round: int = 0) -> dict[str, Listing]:
        """List keys below several prefixes, all at once; see `Store`."""
        return self._walk(prefixes, limit, from_round)

    def names(self, prefix: str, limit: int) -> tuple[str, ...]:
        """List folders; see `Store`."""
        top = checked_key(prefix.rstrip("/"))
        return self._in_root(lambda session: remote_files.names(session, self._root, top, limit))

    def _walk(self, prefixes: Sequence[str], limit: int | None, from_round: int = 0) -> dict[str, Listing]:
        for prefix in filter(None, prefixes):
            checked_key(prefix.rstrip("/"))
        listings = self._in_root(lambda session: walk(session, self._root, prefixes, limit, from_round))
        self._ahead.listed(listings)
        return listings

    def _in_root(self, work: Callable[[Session], T]) -> T:
        """Do some work in the drop folder, which must be there."""

        def checked(session: Session) -> T:
            if not stat.S_ISDIR(session.sftp.stat(self._root or "/").st_mode or 0):
                raise FileNotFoundError(errno.ENOENT, "not a folder")
            return work(session)

        try:
            return self._attempt("", checked, reading=True)
        except MissingError as error:
            msg = f"{self._address}: the drop folder is not there"
            raise StoreError(msg, hint="check the path in the address; fedcli init creates the folder") from error

    def stat(self, key: str) -> int | None:
        """Return a file's size; see `Store`."""
        checked_key(key)
        try:
            return self._attempt(key, lambda session: remote_files.size_of(session, self._root, key), reading=True)
        except MissingError:
            return None

    def rights(self, key: str) -> Rights:
        """Return the modes on the way to a file; see `Store`."""
        return self._attempt(key, lambda session: remote_files.rights_of(session, self._root, checked_key(key)), reading=True)

    def local_path(self, key: str) -> Path | None:
        """Return None; see `Store`."""
        del key
        return None

    def probe(self, prefix: str) -> None:
        """Check that a name can be taken only once; see `Store`."""
        hint = "this server's rename replaces files, so it cannot hold a drop folder; OpenSSH's does not"
        prove_create_once(self, prefix, self._remove, hint)

    def _remove(self, key: str) -> None:
        path = self._path(key)

        def remove(session: Session) -> None:
            with suppress(FileNotFoundError):
                session.sftp.remove(path)

        self._attempt(key, remove)

    def _read_ahead(self, keys: Sequence[str]) -> dict[str, bytes]:
        paths = {key: self._path(key) for key in keys}
        return self._attempt(keys[0], lambda session: remote_files.contents(session, paths, LONGEST))

    def _path(self, key: str) -> str:
        return f"{self._root}/{checked_key(key)}"

    def _missing(self, key: str) -> MissingError:
        return MissingError(f"{key}: not in the drop folder {self._address}")

    def _connect(self) -> Session:
        """Return a new session, which ends with this store: `status --watch` opens one for every look."""
        self._session = session = Session(self._address, self._login, self._options)
        weakref.finalize(self, session.drop).atexit = False
        return session

    def _attempt(self, key: str, work: Callable[[Session], T], *, reading: bool = False) -> T:
        """Do some work on a live connection; if it is lost, do it once more on a new one.

        Raises:
            MissingError: A file that is read (`reading`) does not exist.
            UnreadableError: This account may not read it.
            StoreError: The server refuses, is silent, or was lost twice.
        """
        with self._lock:
            for last in (False, True):
                session = self._session if self._session is not None and self._session.alive else self._connect()
                try:
                    with session.waiting():
                        return work(session)
                except FAILURES as error:
                    silent = session.gave_up or isinstance(error, TimeoutError)
                    if session.alive and not silent and not isinstance(error, LOSSES):
                        if reading and isinstance(error, FileNotFoundError):
                            raise self._missing(key) from error
                        only_this = reading and can_be_listed(session, self._root)
                        raise answers.refused(self._address, key, error, reading=only_this) from error
                    session.close()
                    if silent or last:
                        raise answers.broken(self._address, key, error, self._options.timeout if silent else None) from error
        raise AssertionError

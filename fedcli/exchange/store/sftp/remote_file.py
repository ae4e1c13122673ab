"""Files on an SFTP server: read in order with many requests under way, written whole under a temporary name."""

from __future__ import annotations

import errno
import secrets
import stat
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

import paramiko

from fedcli.exchange import layout
from fedcli.exchange.store.sftp.concurrent_requests import AT_ONCE, Conversations, listing, reading
from fedcli.exchange.store.sftp.pipelined_read import Pipeline
from fedcli.tensors import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fedcli.exchange.store.sftp.concurrent_requests import Folder, Work
    from fedcli.exchange.store.sftp.connection import Session

LOSSES = (paramiko.SSHException, EOFError, ConnectionError)
"""What paramiko raises where the connection is lost."""
FAILURES = (*LOSSES, paramiko.SFTPError, OSError)
"""What paramiko raises: that, and the server's answers."""

_TEMPORARY = ".fedcli-"
_STALE_SECONDS = 86_400


def size_of(session: Session, path: str) -> int:
    """Return the size of a regular file; a pipe that a peer has put in its place is none, and must not be waited for.

    Raises:
        FileNotFoundError: There is none.
    """
    found = session.sftp.stat(path)
    if not stat.S_ISREG(found.st_mode or 0):
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return int(found.st_size or 0)


def pieces(session: Session, file: paramiko.SFTPFile, size: int) -> Iterator[bytes]:
    """Yield a file's first bytes in order."""
    return Pipeline(session.sftp, file, file.MAX_REQUEST_SIZE).read(size)


def content(session: Session, path: str, limit: int) -> bytes:
    """Return at most `limit` bytes of a regular file.

    Raises:
        FileNotFoundError: There is none.
    """
    size = min(limit, size_of(session, path))
    with session.open(path, "r") as file:
        return b"".join(pieces(session, file, size))


def walk(session: Session, root: str, below: str) -> Iterator[str]:
    """Yield the keys of all files in a folder and those below it, seen from the root.

    Folders are listed many at once; those that a server then refuses, since it does not open so many, are listed one by one.

    Raises:
        PermissionError: A folder cannot be listed; the error names it.
    """
    folders = [f"{root}/{below}"]
    for at_once, work in ((AT_ONCE, _tried), (1, listing)):
        talk = Conversations(session.sftp, deque(map(work, folders)), at_once)
        folders = []
        for path, found in talk.results():
            if found is None:
                folders.append(path)
                continue
            for name, attributes in found.items():
                key = f"{path}/{name}"[len(root) + 1 :].lstrip("/")
                if not layout.is_key(key):  # temporary names are none
                    continue
                if stat.S_ISDIR(attributes.st_mode or 0):
                    talk.ahead.append(work(f"{root}/{key}"))
                else:
                    yield key


def _tried(path: str) -> Work[tuple[str, Folder | None]]:
    """List a folder; None where the server does not say why it will not."""
    try:
        return (yield from listing(path))
    except PermissionError:
        raise
    except OSError:
        return path, None


def contents(session: Session, paths: Mapping[str, str], limit: int) -> dict[str, bytes]:
    """Return by key the contents of those regular files that can be read and have at most `limit` bytes, many at once."""

    def read(key: str, path: str) -> Work[tuple[str, bytes | None]]:
        try:
            return key, (yield from reading(path, limit + 1))
        except OSError:  # who needs it reads it alone, and hears why
            return key, None

    talk = Conversations(session.sftp, deque(read(key, path) for key, path in paths.items()), AT_ONCE)
    return {key: data for key, data in talk.results() if data is not None and len(data) <= limit}


def upload(session: Session, source: BinaryIO, size: int, path: str, advance: Callable[[int, str], None]) -> None:
    """Write a new file, all of whose bytes the server has acknowledged.

    Raises:
        OSError: The path exists, or the server refuses.
    """
    done = 0
    with session.open(path, "wx") as file:  # paramiko's "x" alone does not open for writing
        while chunk := source.read(CHUNK_BYTES):
            done += len(chunk)
            file.set_pipelined(done < size)  # the last write waits for the answers to all
            file.write(chunk)
            advance(len(chunk), "")
    if (found := session.sftp.stat(path).st_size) != size:
        msg = f"{found} bytes arrived, expected {size}"
        raise OSError(msg)


@contextmanager
def temporary(session: Session, path: str) -> Iterator[str]:
    """Yield a new name beside `path`, whose folder is made if it is missing; a failure leaves nothing under it."""
    folder = path.rpartition("/")[0]
    _make_folder(session, folder)
    _sweep(session, folder or "/")
    name = f"{folder}/{_TEMPORARY}{secrets.token_hex(8)}"
    try:
        yield name
    except BaseException as error:
        if session.alive and not isinstance(error, TimeoutError):  # a second wait would be one too many: swept a day later
            with suppress(*FAILURES):
                session.sftp.remove(name)
        raise


def _make_folder(session: Session, folder: str) -> None:
    if not folder:
        return
    try:
        session.sftp.stat(folder)
    except FileNotFoundError:
        _make_folder(session, folder.rpartition("/")[0])
        try:
            session.sftp.mkdir(folder)
        except OSError as error:
            try:
                session.sftp.stat(folder)  # another process made it
            except FileNotFoundError:
                raise error from None


def _sweep(session: Session, folder: str) -> None:
    oldest = time.time() - _STALE_SECONDS
    ((_, found),) = Conversations(session.sftp, deque([listing(folder)]), at_once=1).results()
    for name, attributes in found.items():
        if name.startswith(_TEMPORARY) and (attributes.st_mtime or 0) < oldest:
            with suppress(OSError):  # another process swept it
                session.sftp.remove(f"{folder}/{name}")

"""Files on an SFTP server: listed and read many at once, and written whole under a temporary name."""

from __future__ import annotations

import errno
import secrets
import stat
import time
from collections import deque
from contextlib import contextmanager, suppress
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

import paramiko
from paramiko.sftp import CMD_CLOSE, CMD_LSTAT, CMD_OPEN, CMD_OPENDIR, CMD_READ, CMD_READDIR, SFTP_FLAG_READ, int64

from fedcli.disk import CHUNK_BYTES
from fedcli.exchange import layout
from fedcli.exchange.store.base import STALE_SECONDS, TEMPORARY
from fedcli.exchange.store.rights import Rights
from fedcli.exchange.store.sftp.connection import FAILURES
from fedcli.exchange.store.sftp.requests import read_in_order, run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fedcli.exchange.store.sftp.connection import Session
    from fedcli.exchange.store.sftp.requests import Task

Entries = dict[str, paramiko.SFTPAttributes]

AT_ONCE = 64
"""Tasks under way at most: each holds a file or folder open on the server, which allows some hundreds."""
_LONGEST_READ = 32 << 10
"""Bytes to ask for at a time: what every server answers."""


def size_of(session: Session, root: str, key: str) -> int:
    """Return the size of a regular file, to which no link leads below the root.

    A pipe that a peer has put in its place is not opened, since that would wait for ever.

    Raises:
        FileNotFoundError: There is none.
    """
    steps = list(accumulate(key.split("/"), "{}/{}".format))
    attributes = dict(run_tasks(session.sftp, deque(attributes_of(root, step) for step in steps), AT_ONCE))
    if any(stat.S_ISLNK(attributes[step].st_mode or 0) for step in steps[:-1]):
        raise FileNotFoundError(errno.ENOENT, "below a link")
    return _regular_size(attributes[key])


def rights_of(session: Session, root: str, key: str) -> Rights:
    """Return whose a file is, and the modes on the way to it.

    Raises:
        FileNotFoundError: There is none.
    """
    steps = list(accumulate(key.split("/"), "{}/{}".format))
    attributes = dict(run_tasks(session.sftp, deque(attributes_of(root, step) for step in steps), AT_ONCE))
    modes = {"": session.sftp.stat(root or "/").st_mode or 0, **{step: attributes[step].st_mode or 0 for step in steps}}
    return Rights(owner=attributes[key].st_uid or 0, modes=tuple(modes.items()))


def attributes_of(root: str, key: str) -> Task[tuple[str, paramiko.SFTPAttributes]]:
    """Return a key with the attributes of its file, or of the link that is there."""
    return key, paramiko.SFTPAttributes._from_msg((yield CMD_LSTAT, f"{root}/{key}"))  # noqa: SLF001


def pieces(session: Session, file: paramiko.SFTPFile, size: int) -> Iterator[bytes]:
    """Yield a file's first bytes in order."""
    return read_in_order(session.sftp, file.handle, size, file.MAX_REQUEST_SIZE)


def content(session: Session, root: str, key: str, limit: int) -> bytes:
    """Return at most `limit` bytes of a regular file.

    Raises:
        FileNotFoundError: There is none.
    """
    size = min(limit, size_of(session, root, key))
    with session.open(f"{root}/{key}", "r") as file:
        return b"".join(pieces(session, file, size))


def contents(session: Session, paths: Mapping[str, str], limit: int) -> dict[str, bytes]:
    """Return by key the contents of those regular files that can be read and have at most `limit` bytes, many at once."""

    def read(key: str, path: str) -> Task[tuple[str, bytes | None]]:
        try:
            return key, (yield from _reading(path, limit + 1))
        except OSError:  # whoever needs it reads it by itself, and is told why
            return key, None

    tasks = deque(read(key, path) for key, path in paths.items())
    results = run_tasks(session.sftp, tasks, AT_ONCE)
    return {key: data for key, data in results if data is not None and len(data) <= limit}


def listing(path: str, limit: int | None = None) -> Task[Entries]:
    """List a folder: what it holds by name, and at most a little more than `limit`; one that is not there holds nothing.

    Raises:
        OSError: It cannot be listed.
    """
    entries: Entries = {}
    try:
        handle = (yield CMD_OPENDIR, path).get_binary()
    except FileNotFoundError:
        return entries
    try:
        while limit is None or len(entries) <= limit:
            answer = yield CMD_READDIR, handle
            for _ in range(answer.get_int()):
                if not (name := answer.get_binary().decode(errors="replace")):  # a name that is not text is not a key
                    break  # the answer is shorter than it says
                answer.get_binary()  # the line that `ls -l` would print
                attributes = paramiko.SFTPAttributes._from_msg(answer)  # noqa: SLF001
                if name not in {".", ".."}:
                    entries[name] = attributes
    except EOFError:
        pass
    except OSError:
        yield CMD_CLOSE, handle
        raise
    yield CMD_CLOSE, handle
    return entries


def names(session: Session, root: str, folder: str, limit: int) -> tuple[str, ...]:
    """Return the names of at most `limit` + 1 folders in a folder, sorted."""
    (entries,) = run_tasks(session.sftp, deque([listing(f"{root}/{folder}", limit)]), at_once=1)
    below = (name for name, attributes in entries.items() if stat.S_ISDIR(attributes.st_mode or 0) and layout.is_key(name))
    return tuple(sorted(below))[: limit + 1]


def _reading(path: str, limit: int) -> Task[bytes]:
    """Return at most `limit` bytes of a regular file.

    Raises:
        FileNotFoundError: There is none.
        PermissionError: It cannot be read.
    """
    size = min(limit, _regular_size(paramiko.SFTPAttributes._from_msg((yield CMD_LSTAT, path))))  # noqa: SLF001
    handle = (yield CMD_OPEN, path, SFTP_FLAG_READ, paramiko.SFTPAttributes()).get_binary()
    data = b""
    try:
        while len(data) < size:
            length = min(_LONGEST_READ, size - len(data))
            data += (yield CMD_READ, handle, int64(len(data)), length).get_binary()
    except EOFError:  # it has become shorter
        pass
    except OSError:
        yield CMD_CLOSE, handle
        raise
    yield CMD_CLOSE, handle
    return data


def _regular_size(attributes: paramiko.SFTPAttributes) -> int:
    if not stat.S_ISREG(attributes.st_mode or 0):
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return int(attributes.st_size or 0)


def upload(session: Session, source: BinaryIO, size: int, path: str, advance: Callable[[int, str], None]) -> None:
    """Write a new file, all of whose bytes the server has acknowledged.

    Raises:
        OSError: The path exists, or the server refuses.
    """
    done = 0
    with session.open(path, "wx") as file:  # paramiko's "x" by itself does not open for writing
        while chunk := source.read(CHUNK_BYTES):
            done += len(chunk)
            file.set_pipelined(done < size)  # the last write waits for the answers to all
            file.write(chunk)
            advance(len(chunk), "")
    if (arrived := session.sftp.stat(path).st_size) != size:
        msg = f"{arrived} bytes arrived, expected {size}"
        raise OSError(msg)


@contextmanager
def temporary(session: Session, path: str) -> Iterator[str]:
    """Yield a new name beside `path`, whose folder is created if it is missing; after a failure nothing is left under it."""
    folder = path.rpartition("/")[0]
    _make_folder(session, folder)
    _sweep(session, folder or "/")
    name = f"{folder}/{TEMPORARY}{secrets.token_hex(8)}"
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
    oldest = time.time() - STALE_SECONDS
    (entries,) = run_tasks(session.sftp, deque([listing(folder)]), at_once=1)
    for name, attributes in entries.items():
        if name.startswith(TEMPORARY) and (attributes.st_mtime or 0) < oldest:
            with suppress(OSError):  # another process swept it
                session.sftp.remove(f"{folder}/{name}")

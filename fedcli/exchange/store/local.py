"""A drop folder in a local or mounted directory.

Whatever has a final name is whole: bytes go to a temporary file in the same folder, are flushed to the disk, and get their name
by one system call: `link` for records (it fails if the name is taken) and `rename` for artifacts (same name, same bytes). A
process killed at any point leaves at most a temporary file, which is never listed and is removed a day later.

The drop folder's own mode decides who may read, not the writer's umask, so that a party cannot publish what the others cannot
read: a new folder has its parent's mode without write access for others, and everyone who can read a folder can read the files in
it. `fedcli access` prescribes 2750. Only `sites/` keeps that write access, and has the sticky bit: every account that can write
to the drop folder can join, and none can remove another site's folder. A drop folder that does not exist yet is created with
mode 0750; in a folder that a group shares (setgid), it has that folder's rights for the group.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from contextlib import contextmanager, suppress
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

from fedcli import disk
from fedcli.disk import CHUNK_BYTES
from fedcli.errors import ConflictError, MissingError, StoreError, UnreadableError
from fedcli.exchange.store import local_files
from fedcli.exchange.store.base import (
    STALE_SECONDS,
    TEMPORARY,
    check_size,
    checked_key,
    new_file,
    prove_create_once,
    removable_key,
    write_received,
)
from fedcli.exchange.store.rights import Rights
from fedcli.progress import BYTES, Silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.exchange.store.listing import Listing
    from fedcli.progress import Progress

_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE}
_THE_PLACE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH,
              errno.ENETDOWN, errno.ENETUNREACH, errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED}  # fmt: skip
"""What a mounted share, or this machine, says when nothing at all can be read."""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


class LocalStore:
    """A directory that all parties reach, or that something else carries between them."""

    def __init__(self, root: Path, progress: Progress | None = None) -> None:
        self._root = root
        self._progress = progress or Silent()

    @property
    def address(self) -> str:
        """The directory's path."""
        return str(self._root)

    def put_artifact(self, key: str, source: Path) -> None:
        """Copy a file in; see `Store`."""
        path = self._root / checked_key(key)
        with _explained(key, self._root), source.open("rb") as file, _temporary(self._root, key) as (temporary, target):
            with self._progress.track(f"sending {path.name}", source.stat().st_size, BYTES) as advance:
                while chunk := file.read(CHUNK_BYTES):
                    target.write(chunk)
                    advance(len(chunk), "")
            _flush(target)
            temporary.rename(path)
            disk.sync(path.parent)

    def remove_artifact(self, key: str) -> None:
        """Remove a file; see `Store`."""
        path = self._root / removable_key(key)
        with _explained(key, self._root), suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
            disk.sync(path.parent)

    def publish(self, key: str, data: bytes) -> None:
        """Create a record once; see `Store`."""
        path = self._root / checked_key(key)
        with _explained(key, self._root), _temporary(self._root, key) as (temporary, target):
            target.write(data)
            _flush(target)
            try:
                os.link(temporary, path)
            except FileExistsError:
                with local_files.open_file(self._root, key) as file:
                    if file.read(len(data) + 1) != data:
                        msg = f"{key}: already published with other content"
                        raise ConflictError(msg) from None
            disk.sync(path.parent)

    def fetch(self, key: str, target: Path, limit: int) -> Measured:
        """Copy a file out, hashing what is written; see `Store`."""
        with _explained(key, self._root, reading=True):
            source = local_files.open_file(self._root, checked_key(key))
        with source as file, new_file(target) as copy:
            size = os.fstat(file.fileno()).st_size
            with self._progress.track(f"fetching {key.rpartition('/')[2]}", size, BYTES) as advance:
                return write_received(key, self._pieces(key, file), copy, limit, advance)

    def _pieces(self, key: str, file: BinaryIO) -> Iterator[bytes]:
        with _explained(key, self._root, reading=True):
            yield from iter(lambda: file.read(CHUNK_BYTES), b"")

    def read(self, key: str, limit: int) -> bytes:
        """Read a small file; see `Store`."""
        with _explained(key, self._root, reading=True), local_files.open_file(self._root, checked_key(key)) as file:
            data = file.read(limit + 1)
        check_size(key, len(data), limit)
        return data

    def read_soon(self, keys: Sequence[str]) -> None:
        """Do nothing; see `Store`."""

    def list(self, prefix: str) -> tuple[str, ...]:
        """List keys; see `Store`."""
        return self._walk(prefix, None).complete(self.address)

    def list_each(self, prefixes: Sequence[str], limit: int, *, from_round: int = 0) -> dict[str, Listing]:
        """List keys below several prefixes; see `Store`."""
        return {prefix: self._walk(prefix, limit, from_round) for prefix in prefixes}

    def names(self, prefix: str, limit: int) -> tuple[str, ...]:
        """List folders; see `Store`."""
        self._require_root()
        with _explained(prefix, self._root):
            return local_files.names(self._root, _checked_prefix(prefix), limit)

    def _walk(self, prefix: str, limit: int | None, from_round: int = 0) -> Listing:
        self._require_root()
        return local_files.walk(self._root, _checked_prefix(prefix), limit, from_round)

    def _require_root(self) -> None:
        if not self._root.is_dir():
            msg = f"{self._root}: the drop folder is not there"
            raise StoreError(msg, hint="check the path, and that the share is mounted")

    def stat(self, key: str) -> int | None:
        """Return a file's size; see `Store`."""
        try:
            with _explained(key, self._root, reading=True):
                return local_files.size_of(self._root, checked_key(key))
        except MissingError:
            return None

    def rights(self, key: str) -> Rights:
        """Return the modes on the way to a file; see `Store`."""
        steps = ["", *accumulate(checked_key(key).split("/"), "{}/{}".format)]
        with _explained(key, self._root, reading=True):
            found = [(self._root / step).stat(follow_symlinks=not step) for step in steps]
        return Rights(owner=found[-1].st_uid, modes=tuple(zip(steps, (item.st_mode for item in found), strict=True)))

    def local_path(self, key: str) -> Path | None:
        """Return a file's path; see `Store`."""
        if self.stat(key) is None:
            return None
        with _explained(key, self._root, reading=True):
            local_files.open_file(self._root, key).close()
        return self._root / key

    def probe(self, prefix: str) -> None:
        """Check that a name can be taken only once; see `Store`."""
        prove_create_once(self, prefix, lambda key: (self._root / key).unlink(), "use a folder on another file system")


@contextmanager
def _temporary(root: Path, key: str) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a new temporary file beside a key; its name is always removed afterwards."""
    local_files.make_folder_of(root, key)
    folder = (root / key).parent
    _sweep(folder)
    temporary = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            with suppress(OSError):  # some mounted file systems have no modes
                os.fchmod(file.fileno(), 0o600 | (folder.stat().st_mode & 0o044))
            yield temporary, file
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    oldest = time.time() - STALE_SECONDS
    for item in folder.glob(f"{TEMPORARY}*"):
        try:
            if item.stat().st_mtime < oldest:
                item.unlink()
        except OSError:  # another process swept it, or it is a folder, or another account's: it must not stop a publication
            continue


@contextmanager
def _explained(key: str, root: Path, *, reading: bool = False) -> Iterator[None]:
    """Turn the system's errors into the store's; a key that is read may be missing, or may not be readable."""
    try:
        yield
    except OSError as error:
        if reading and error.errno in _NO_FILE:
            msg = f"{key}: not in the drop folder {root}"
            raise MissingError(msg) from error
        if reading and error.errno not in _THE_PLACE and os.access(root, os.R_OK | os.X_OK):
            msg = f"{key}: {str(error.strerror).lower()}, in the drop folder {root}"
            raise UnreadableError(msg, hint="whoever wrote it must let this account read it and the folders above it") from error
        hint = ""
        if error.errno in _NO_LINKS:
            hint = "this file system has no hard links, so nothing can be created exactly once; use another"
        elif error.errno in {errno.EACCES, errno.EROFS}:
            hint = "check the folder's permissions for this account; fedcli access folder shows how parties share one"
        elif error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            hint = "make room there, and run the same command again: nothing is half written"
        msg = f"{key or error.filename}: {error.strerror}, in the drop folder {root}"
        raise StoreError(msg, hint=hint) from error


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _checked_prefix(prefix: str) -> str:
    return f"{checked_key(prefix.rstrip('/'))}/" if prefix else ""

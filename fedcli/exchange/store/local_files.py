"""Files of a drop folder on this machine, opened and listed without following any link below its root.

The root itself may be a link, which its user has named. What lies below belongs to the parties, any of which could otherwise
lead a reader to an endless device, to a file of another party, or out of the folder.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from fedcli.exchange import layout
from fedcli.exchange.store.listing import A_LINK, Listing, too_many

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Opens a folder to pass through it, which needs no right to list it."""


@contextmanager
def folder_of(root: Path, key: str) -> Iterator[tuple[int, str]]:
    """Yield a descriptor of the folder that holds a key, and the key's last part.

    Raises:
        OSError: There is no such folder; ELOOP if a part of it is a link.
    """
    *folders, name = key.split("/")
    descriptor = os.open(root, _PASS & ~os.O_NOFOLLOW)
    try:
        for folder in folders:
            below = _step(descriptor, folder, _PASS)
            os.close(descriptor)
            descriptor = below
        yield descriptor, name
    finally:
        os.close(descriptor)


def _step(descriptor: int, name: str, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=descriptor)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, A_LINK) from None
        raise


def make_folder_of(root: Path, key: str) -> None:
    """Make the folder that holds a key, and those above it.

    Raises:
        OSError: It cannot be made; ELOOP if a part of it is a link.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    above = root.parent.stat().st_mode
    _make_folder(root, 0o700 | (above & 0o2070 if above & stat.S_ISGID else 0o050))
    folder = root
    for part in key.split("/")[:-1]:
        folder /= part
        if folder.is_symlink():
            raise OSError(errno.ELOOP, A_LINK, str(folder))
        mode = folder.parent.stat().st_mode
        if folder == root / layout.SITES and mode & _OTHERS_WRITE:  # every account that can write to the drop folder can join
            _make_folder(folder, 0o1700 | (mode & 0o2077))
        else:
            _make_folder(folder, 0o700 | (mode & 0o2055))


def _make_folder(folder: Path, mode: int) -> None:
    """Make a folder with a mode, whatever the umask, unless it is there."""
    if folder.is_dir():
        return
    folder.mkdir(exist_ok=True)
    with suppress(OSError):  # some mounted file systems have no modes
        folder.chmod(mode)


def open_file(root: Path, key: str) -> BinaryIO:
    """Open a regular file; opening a pipe that a peer has put in its place does not wait.

    Raises:
        OSError: There is none, or it may not be read.
    """
    with folder_of(root, key) as (folder, name):
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return os.fdopen(descriptor, "rb")


def size_of(root: Path, key: str) -> int | None:
    """Return the size of a regular file; None if there is something else.

    Raises:
        OSError: There is nothing, or this account may not know.
    """
    with folder_of(root, key) as (folder, name):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def walk(root: Path, prefix: str, limit: int | None, from_round: int = 0) -> Listing:
    """Return the keys of the files below a prefix, of at most `limit` files and folders, without those of earlier rounds."""
    keys: list[str] = []
    faults: list[str] = []
    folders = [prefix.rstrip("/")]
    num_entries = 0
    while folders:
        folder = folders.pop()
        try:
            for entry in _entries(root, folder):
                num_entries += 1
                if limit is not None and num_entries > limit:
                    return Listing.of(keys, [too_many(prefix, limit), *faults])
                key = f"{folder}/{entry.name}" if folder else entry.name
                if not layout.is_key(key) or layout.is_before(key, from_round):  # a temporary file, for one
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(key)
                elif entry.is_file(follow_symlinks=False):
                    keys.append(key)
                elif entry.is_symlink():
                    faults.append(f"{key}: {A_LINK}")
        except (FileNotFoundError, NotADirectoryError):  # removed meanwhile
            continue
        except OSError as error:
            faults.append(f"{folder or 'the drop folder'}: {str(error.strerror).lower()}")
    return Listing.of(keys, faults)


def names(root: Path, prefix: str, limit: int) -> tuple[str, ...]:
    """Return the names of at most `limit` + 1 folders in a folder, sorted.

    Raises:
        OSError: It cannot be listed.
    """
    folders: list[str] = []
    try:
        for entry in _entries(root, prefix.rstrip("/")):
            if layout.is_key(entry.name) and entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            if len(folders) > limit:
                break
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(sorted(folders))


def _entries(root: Path, folder: str) -> Iterator[os.DirEntry[str]]:
    with folder_of(root, f"{folder}/" if folder else "") as (descriptor, _):
        listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
    try:
        with os.scandir(listed) as entries:
            yield from entries
    finally:
        os.close(listed)

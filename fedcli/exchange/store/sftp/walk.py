"""The files below several folders on an SFTP server, listed many folders at once."""

from __future__ import annotations

import errno
import stat
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from fedcli.exchange import layout
from fedcli.exchange.store.listing import A_LINK, Listing, too_many
from fedcli.exchange.store.sftp.connection import FAILURES
from fedcli.exchange.store.sftp.remote_files import AT_ONCE, attributes_of, listing
from fedcli.exchange.store.sftp.requests import run_tasks
from fedcli.text.visible_text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.exchange.store.sftp.connection import Session
    from fedcli.exchange.store.sftp.remote_files import Entries
    from fedcli.exchange.store.sftp.requests import Task


@dataclass(slots=True)
class _Listed:
    """What has been listed below one prefix so far."""

    prefix: str
    limit: int | None
    from_round: int
    num_entries: int = 0
    keys: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    full: bool = False

    @property
    def left(self) -> int | None:
        """How many more files and folders are asked for."""
        return None if self.limit is None else self.limit - self.num_entries

    def take(self, folder: str, entries: Entries) -> list[str]:
        """Take what a folder holds; return the folders in it that are to be listed."""
        folders = []
        for name, attributes in entries.items():
            if self.num_entries == self.limit:
                if not self.full:
                    self.faults.insert(0, too_many(self.prefix, self.limit))
                self.full = True
                return []
            self.num_entries += 1
            key = f"{folder}/{name}".lstrip("/")
            if not layout.is_key(key) or layout.is_before(key, self.from_round):  # a temporary file, for one
                continue
            if stat.S_ISDIR(mode := attributes.st_mode or 0):
                folders.append(key)
            elif stat.S_ISLNK(mode):
                self.faults.append(f"{key}: {A_LINK}")
            elif stat.S_ISREG(mode) or not stat.S_IFMT(mode):
                self.keys.append(key)
        return folders


def walk(session: Session, root: str, prefixes: Sequence[str], limit: int | None, from_round: int = 0) -> dict[str, Listing]:
    """Return the keys of the files below each prefix, of at most `limit` files and folders, without those of earlier rounds.

    Folders are listed many at once; those that the server then refuses, because it does not open so many, are listed one by one.
    """
    listed = {prefix: _Listed(prefix, limit, from_round) for prefix in prefixes}
    again = [(item, item.prefix.rstrip("/")) for item in listed.values()]
    for at_once in (AT_ONCE, 1):
        tasks = deque(_list(item, root, folder, top=at_once > 1) for item, folder in again)
        again = []
        for item, folder, entries in run_tasks(session.sftp, tasks, at_once):
            if not isinstance(entries, OSError):
                tasks.extend(_list(item, root, below) for below in item.take(folder, entries))
            elif at_once == 1 or entries.errno in {errno.EACCES, errno.ELOOP}:
                item.faults.append(f"{folder or 'the drop folder'}: {visible(entries.strerror or str(entries)).lower()}")
            else:
                again.append((item, folder))
    return {prefix: Listing.of(item.keys, item.faults) for prefix, item in listed.items()}


def _list(item: _Listed, root: str, folder: str, *, top: bool = False) -> Task[tuple[_Listed, str, Entries | OSError]]:
    """List a folder, or return why it cannot be listed; the prefix itself may be a link, or lie below one."""
    if item.full:
        return item, folder, {}
    try:
        for part in accumulate(folder.split("/") if top else (), "{}/{}".format):
            _, attributes = yield from attributes_of(root, part)
            if stat.S_ISLNK(attributes.st_mode or 0):
                return item, folder, OSError(errno.ELOOP, A_LINK)
        return item, folder, (yield from listing(f"{root}/{folder}", item.left))
    except FileNotFoundError:
        return item, folder, {}
    except OSError as error:
        return item, folder, error


def can_be_listed(session: Session, folder: str) -> bool:
    """Tell whether a folder can be listed."""
    try:
        for _ in run_tasks(session.sftp, deque([listing(folder or "/", 0)]), 1):
            pass
    except FAILURES:
        return False
    return True

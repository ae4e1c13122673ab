"""Whether the other parties may read what one party has written, by its mode and those of the folders above it."""

from __future__ import annotations

import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fedcli.errors import MissingError, UnreadableError
from fedcli.exchange import layout

if TYPE_CHECKING:
    from fedcli.exchange.store.base import Store

_GROUP = (0o050, 0o040)
_EVERYBODY = (0o005, 0o004)
"""What an account needs of a folder and of a file, as one of the group or as anybody."""
_LOOKED_AT = 3
"""Sites whose account is compared with the coordinator's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Whose a file is, and the modes on the way to it.

    Attributes:
        owner: The number of the account that owns it.
        modes: The mode of the drop folder, of each folder below it, and of the file, by key; the drop folder's key is empty.
    """

    owner: int
    modes: tuple[tuple[str, int], ...]

    @property
    def closed(self) -> tuple[str, int] | None:
        """The first folder or file that only its owner can read, with its mode; None if a group or everybody can read it all."""
        first_closed = []
        for folder, file in (_GROUP, _EVERYBODY):
            needed = [folder] * (len(self.modes) - 1) + [file]
            closed = [number for number, (_, mode) in enumerate(self.modes) if mode & needed[number] != needed[number]]
            if not closed:
                return None
            first_closed.append(closed[0])
        key, mode = self.modes[max(first_closed)]
        return key, stat.S_IMODE(mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsharedFile:
    """A file that only the account that wrote it can read, in words, and what to do about it."""

    message: str
    remedy: str


def unshared(store: Store, key: str) -> UnsharedFile | None:
    """Return why the other parties cannot read a party's file; None if they can, or if the place has no modes.

    Where another party's first record belongs to the same account, all parties use that account, and can.
    """
    rights = store.rights(key)
    closed = rights.closed if rights is not None else None
    if rights is None or closed is None or any(_owner(store, other) == rights.owner for other in _first_records(store, key)):
        return None
    where, mode = closed
    message = f"{key}: the other parties cannot read it: mode {mode:04o} of {where or 'the drop folder'} is for one account only"
    parts = urlsplit(store.address)
    top = (parts.path if parts.scheme else store.address).rstrip("/")
    command = f"chmod {'-R g+rX' if where not in {'', layout.SITES} else 'g+rx'} {top}/{where}"
    remedy = f"run `{command}`; fedcli access folder shows how all parties share a folder"
    if parts.scheme == "sftp":
        remedy = f"the server's operator sets `internal-sftp -u 0027`, and runs `{command}` there once"
    return UnsharedFile(message=message, remedy=remedy)


def _first_records(store: Store, key: str) -> tuple[str, ...]:
    """Return the keys of other parties' first records."""
    if layout.owner(key) != layout.COORDINATOR:
        return (layout.federation(0),)
    return tuple(layout.enrolment(site, 0) for site in store.names(f"{layout.SITES}/", _LOOKED_AT) if layout.is_site(site))


def _owner(store: Store, key: str) -> int | None:
    with suppress(MissingError, UnreadableError):
        rights = store.rights(key)
        return rights.owner if rights is not None else None
    return None

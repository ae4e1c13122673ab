"""What a store has listed below a prefix, and whether that is all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fedcli.exchange.store.base import ReadableStore

A_LINK = "a link, which is not followed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The keys below a prefix.

    Attributes:
        keys: Sorted; names that cannot be keys are left out, and so are links, pipes and whatever else is no file.
        fault: Why some may be missing: a folder cannot be listed, or there are more files than were asked for; empty if none is.
    """

    keys: tuple[str, ...] = ()
    fault: str = ""

    @classmethod
    def of(cls, keys: Iterable[str], faults: Iterable[str]) -> Listing:
        """Return a listing of unsorted keys; of the faults it says the first, and how many there are."""
        first, *others = (*faults, "")
        more = len(others) - 1
        return cls(keys=tuple(sorted(keys)), fault=f"{first}; and {more} more" if more > 0 else first)

    def complete(self, address: str) -> tuple[str, ...]:
        """Return the keys if none can be missing.

        Raises:
            UnreadableError: Some may be missing.
        """
        if self.fault:
            msg = f"{self.fault}, in the drop folder {address}"
            raise UnreadableError(msg, hint="check what this account may read, and the links below this folder")
        return self.keys


def is_there(store: ReadableStore, key: str, *, if_hidden: bool) -> bool:
    """Return whether an object exists.

    Args:
        store: The drop folder.
        key: The object's key.
        if_hidden: The answer if this account has no permission to find out.
    """
    try:
        return store.stat(key) is not None
    except UnreadableError:
        return if_hidden


def too_many(prefix: str, limit: int) -> str:
    """Return the fault of a prefix that holds more than was asked for."""
    return f"{prefix.rstrip('/') or 'the drop folder'}: more than {limit} files and folders, of which the others are ignored"

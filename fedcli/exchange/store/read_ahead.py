"""Records of a remote store, read before they are asked for: over a long line, many at once take as long as one.

Records are small and are read in the order of their names, which the newest listing tells. A read that continues the one before
fetches twice as many as the last time; any other read fetches only the record and its signature. Whoever knows what it will read
can say so. What was fetched is returned once, and is forgotten with the next listing.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import TYPE_CHECKING

from fedcli.exchange import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fedcli.exchange.store.listing import Listing

_LEAST = 2
_MOST = 256
LONGEST = 64 << 10
"""Bytes that are read ahead of one key at most: anything longer is read when it is asked for."""


class ReadAhead:
    """What one store has read ahead.

    Args:
        fetch: Returns the content of those keys that can be read and are not longer than `LONGEST`.
    """

    def __init__(self, fetch: Callable[[Sequence[str]], Mapping[str, bytes]]) -> None:
        self._fetch = fetch
        self._keys: list[str] = []
        self._kept: dict[str, bytes] = {}
        self._asked: dict[str, bytes] = {}
        self._next = 0
        self._window = _LEAST
        self._lock = threading.Lock()

    def listed(self, listings: Mapping[str, Listing]) -> None:
        """Take listings by prefix; what was known below these prefixes is forgotten."""
        prefixes = tuple(listings)
        with self._lock:
            others = [key for key in self._keys if not key.startswith(prefixes)]
            new = (key for listing in listings.values() for key in listing.keys if not layout.is_artifact(key))
            self._keys = sorted([*others, *new])
            self._kept, self._asked, self._window, self._next = {}, {}, _LEAST, 0

    def fetch(self, keys: Sequence[str]) -> None:
        """Read what will be asked for soon, as much as may be kept; what the last call has read is forgotten."""
        with self._lock:
            self._asked = dict(self._fetch(keys[:_MOST])) if keys else {}

    def read(self, key: str) -> bytes | None:
        """Return a listed key's content; None if it was not read ahead."""
        with self._lock:
            for read in (self._asked, self._kept):
                if key in read:
                    return read.pop(key)
            position = bisect_left(self._keys, key)
            if self._keys[position : position + 1] != [key]:
                return None
            continues = self._next <= position < self._next + self._window
            self._window = min(2 * self._window, _MOST) if continues else _LEAST
            wanted = self._keys[position : position + self._window]
            self._next = position + len(wanted)
            self._kept = dict(self._fetch(wanted))
            return self._kept.pop(key, None)

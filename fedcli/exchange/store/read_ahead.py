"""Records of a far store, read before they are asked for: over a long line many at once take as long as one.

Records are small, and read in the order of their names. The newest listing tells the names; where a read goes on from the one
before, twice as many are fetched as the last time, and where it does not, the record and its signature alone. What was fetched is
handed out once and is forgotten with the next listing.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import TYPE_CHECKING

from fedcli.exchange import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LEAST = 2
_MOST = 256
LONGEST = 64 << 10
"""Bytes of what is read ahead, at most: whatever is longer is read when it is asked for."""


class Ahead:
    """What one store has read ahead.

    Args:
        fetch: Returns the content of those keys that can be read and are not longer than `LONGEST`.
    """

    def __init__(self, fetch: Callable[[Sequence[str]], Mapping[str, bytes]]) -> None:
        self._fetch = fetch
        self._keys: list[str] = []
        self._kept: dict[str, bytes] = {}
        self._next = 0
        self._window = _LEAST
        self._lock = threading.Lock()

    def listed(self, prefix: str, keys: Sequence[str]) -> None:
        """Take a listing of whatever begins with a prefix."""
        with self._lock:
            others = [key for key in self._keys if not key.startswith(prefix)]
            self._keys = sorted([*others, *(key for key in keys if not layout.is_artifact(key))])
            self._kept, self._window, self._next = {}, _LEAST, 0

    def read(self, key: str) -> bytes | None:
        """Return a listed key's content; None where it was not read ahead."""
        with self._lock:
            if key in self._kept:
                return self._kept.pop(key)
            place = bisect_left(self._keys, key)
            if self._keys[place : place + 1] != [key]:
                return None
            goes_on = self._next <= place < self._next + self._window
            self._window = min(2 * self._window, _MOST) if goes_on else _LEAST
            wanted = self._keys[place : place + self._window]
            self._next = place + len(wanted)
            self._kept = dict(self._fetch(wanted))
            return self._kept.pop(key, None)

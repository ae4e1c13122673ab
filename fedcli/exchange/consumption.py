"""What each party has made a reader read and say so far, so that both end somewhere."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fedcli.exchange import layout
from fedcli.exchange.history import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_REJECTED = 20
"""Records of one party of which it is said why they do not verify."""


class Consumption:
    """The bytes and the problems of each party's records."""

    def __init__(self) -> None:
        self._num_bytes: Counter[str] = Counter()
        self._num_rejected: Counter[str] = Counter()

    def exhausted(self, key: str, most: int) -> bool:
        """Tell whether the party that wrote a record has had more bytes read than any may have."""
        return self._num_bytes[layout.owner(key)] > most

    def read(self, key: str, num_bytes: int) -> None:
        """Count the bytes of a record."""
        self._num_bytes[layout.owner(key)] += num_bytes

    def reject(self, key: str) -> bool:
        """Count a record that does not verify; tell whether to say why: only of the first ones of a party."""
        party = layout.owner(key)
        self._num_rejected[party] += 1
        return self._num_rejected[party] <= _MOST_REJECTED

    def unsaid(self) -> Iterator[Problem]:
        """Yield in one line for each party how many more of its records do not verify."""
        for party, number in self._num_rejected.items():
            if number > _MOST_REJECTED:
                prefix = layout.prefix(party)
                yield Problem(key=prefix, message=f"{prefix}: {number - _MOST_REJECTED} more records do not verify")

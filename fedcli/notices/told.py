"""What was told when: an event once, a state when it begins and then daily, over each channel on its own.

A file that is missing or damaged means that nothing was told: then everything that lasts is told again.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import wire
from fedcli.disk import write_whole
from fedcli.wire import STRICT, Timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

FILE = "told.json"
PRINTED = "printed"
"""The channel that is what a command prints without a terminal, which cron mails."""
_DAY = timedelta(days=1) - timedelta(minutes=10)
"""Today's run may be a little earlier than yesterday's."""
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Telling:
    """One thing that was told.

    Attributes:
        key: What.
        channel: Over which channel.
        moment: When it was last told.
    """

    key: Annotated[str, Field(min_length=1, max_length=_LONGEST)]
    channel: Annotated[str, Field(min_length=1, max_length=40)]
    moment: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Tellings:
    """The file.

    Attributes:
        looked: When the federation was last looked at for notices.
        tellings: What was told and lasts.
    """

    looked: Timestamp | None
    tellings: tuple[Telling, ...]


class Told:
    """What a workspace's party was told; nothing is on the disk before `save`."""

    def __init__(self, root: Path) -> None:
        self._path = root / FILE
        try:
            stored = wire.decode(Tellings, self._path.read_bytes())
        except (OSError, wire.MalformedError):
            stored = Tellings(looked=None, tellings=())
        self.looked = stored.looked
        self._told = {(item.key, item.channel): item.moment for item in stored.tellings}
        self._stored = stored

    def due(self, key: str, channel: str, moment: datetime, *, once: bool) -> bool:
        """Return whether something is to be told now: it was not, or a day ago and it lasts."""
        before = self._told.get((_short(key), channel))
        return before is None or not (once or timedelta() <= moment - before < _DAY)

    def mark(self, key: str, channel: str, moment: datetime) -> None:
        """Remember that something was told."""
        self._told[_short(key), channel] = moment

    def lasting(self, beginning: str, since: datetime) -> tuple[str, ...]:
        """Return the keys with a beginning that were told since a moment, sorted."""
        return tuple(sorted({key for (key, _), at in self._told.items() if key.startswith(beginning) and at >= since}))

    def end(self, beginnings: Iterable[str], lasting: Iterable[str]) -> None:
        """Forget what has ended, so that it is told when it begins again.

        Args:
            beginnings: Of the keys that were looked at.
            lasting: Those of them that still hold.
        """
        kept, looked_at = set(map(_short, lasting)), tuple(beginnings)
        self._told = {place: at for place, at in self._told.items() if place[0] in kept or not place[0].startswith(looked_at)}

    def save(self) -> None:
        """Write the file, whole or not at all, if anything has changed."""
        tellings = tuple(Telling(key=key, channel=channel, moment=at) for (key, channel), at in sorted(self._told.items()))
        changed = Tellings(looked=self.looked, tellings=tellings)
        if changed != self._stored:
            write_whole(self._path, wire.encode(changed), mode=0o600)
            self._stored = changed


def _short(key: str) -> str:
    """Return a key that fits; a long one ends with a digest."""
    if len(key) <= _LONGEST:
        return key
    return f"{key[: _LONGEST - 17]} {hashlib.sha256(key.encode(errors='replace')).hexdigest()[:16]}"

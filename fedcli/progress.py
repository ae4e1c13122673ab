"""How long work reports where it is, without knowing who watches.

Operations, training and preparation call a `Progress`; the command line draws it, cron leaves it silent.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


BYTES = "bytes"
"""The unit of transfers, which are shown in units that fit."""


class Progress(Protocol):
    """A listener to long work."""

    def event(self, text: str) -> None:
        """Tell one thing that happened, in one line."""

    def track(self, label: str, total: int, unit: str) -> AbstractContextManager[Callable[[int, str], None]]:
        """Begin a piece of work of `total` units; the yielded function takes the units just done and a short note (may be '')."""


class Silent:
    """A `Progress` that nobody watches."""

    def event(self, text: str) -> None:
        """Drop the line."""

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Callable[[int, str], None]]:  # noqa: ARG002
        """Yield a function that does nothing."""
        yield lambda _units, _note: None

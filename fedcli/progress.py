"""How long-running work reports its progress, without knowing who watches.

Operations, training and preparation call a `Progress`; the command line draws it, and under cron it is silent.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


BYTES = "bytes"
"""The unit of transfers, shown as kB, MB or GB."""


class Progress(Protocol):
    """Receives reports of long-running work."""

    def event(self, text: str) -> None:
        """Report one thing that happened, in one line."""

    def track(self, label: str, total: int, unit: str) -> AbstractContextManager[Callable[[int, str], None]]:
        """Begin work of `total` units; the yielded function takes the number of units just done and a short note, or ''."""


class Silent:
    """A `Progress` that nobody watches."""

    def event(self, text: str) -> None:
        """Drop the line."""

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Callable[[int, str], None]]:  # noqa: ARG002
        """Yield a function that does nothing."""
        yield lambda _units, _note: None

"""What a command says on its way: a line that every run says is printed once, and then daily."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.notices.told import PRINTED, Told

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

_MOST = 200
"""Lines of one run that are remembered."""


class EventLines:
    """The lines of one run.

    Attributes:
        said: All of them, each once.
    """

    def __init__(self, root: Path, command: str, moment: datetime) -> None:
        self._told, self._command, self._moment = Told(root), command, moment
        self.said: dict[str, None] = {}

    def is_news(self, text: str) -> bool:
        """Return whether a line is to be printed: neither this run nor one before it has said it today."""
        if text in self.said:
            return False
        self.said[text] = None
        return self._told.due(_key(self._command, text), PRINTED, self._moment, once=False)


def remember(command: str, said: Sequence[str], told: Told, moment: datetime) -> None:
    """Remember the lines of a run, and forget those that it has not said."""
    keys = [_key(command, text) for text in said[-_MOST:]]
    for key in keys:
        if told.due(key, PRINTED, moment, once=False):
            told.mark(key, PRINTED, moment)
    told.end([_key(command, "")], keys)


def _key(command: str, text: str) -> str:
    return f"line: {command}: {text}"

"""CSV for people: UTF-8, comma-separated; every cell shows what it holds, and no spreadsheet runs it."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from fedcli.text.visible_text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

_PIECE = re.compile(r"(?:^|(?<=[;,|]))[^;,|]+")
_FORMULA = re.compile(r"[\s\"']*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def csv_text(lines: Iterable[Iterable[object]]) -> str:
    """Return lines of cells as CSV; text is made visible and guarded, numbers stay, None is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for line in lines:
        writer.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in line])
    return buffer.getvalue()


def guarded(text: str) -> str:
    """Return a cell with `'` before whatever a spreadsheet would run, also after what is a list separator in other countries.

    Only a cell that is a number as a whole stays: beside a separator, `-1` would begin a longer cell elsewhere.
    """
    shown = visible(text)
    if _NUMBER.fullmatch(shown):
        return shown
    return _PIECE.sub(lambda match: f"'{match[0]}" if _FORMULA.match(match[0]) else match[0], shown)

"""How label tables write the date of an exam."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d\d?)\2(\d\d?)(?:\.0|[T ].*)?")
_YEAR_LAST = re.compile(r"(\d\d?)([-/.])(\d\d?)\2(\d{4})(?:[T ].*)?")
_MONTHS = 12


def normal_dates(texts: Iterable[str]) -> dict[str, str]:
    """Return for each text the date as DICOM writes it, YYYYMMDD; the text itself where it is not certain which date it is.

    A day with points stands before its month. With other separators, the column decides: a number above 12 is no month.
    """
    texts = set(texts)
    numbers = [(int(match[1]), int(match[3])) for text in texts if (match := _YEAR_LAST.fullmatch(text)) and match[2] != "."]
    day_first = any(first > _MONTHS for first, _ in numbers)
    month_first = any(second > _MONTHS for _, second in numbers)
    return {text: _normal(text, day_first=day_first, month_first=month_first) for text in texts}


def _normal(text: str, *, day_first: bool, month_first: bool) -> str:
    if match := _YEAR_FIRST.fullmatch(text):
        year, month, day = match[1], match[3], match[4]
    elif (match := _YEAR_LAST.fullmatch(text)) and (match[2] == "." or day_first != month_first):
        year, month, day = match[4], match[3], match[1]
        if match[2] != "." and month_first:
            month, day = day, month
    else:
        return text
    try:
        return dt.date(int(year), int(month), int(day)).strftime("%Y%m%d")
    except ValueError:
        return text

"""How label tables write a class.

The plan's own names always win. If the plan's classes are a, b, c, d, the four BI-RADS densities are also understood as letters,
numbers (including Roman ones, and 2.0 as in spreadsheets), words, a code with its words (`b - scattered`), and with a prefix such
as ACR, BI-RADS, density or level.

"BI-RADS 2" is not understood: reports write the assessment like that, which says nothing about density.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_BIRADS = ("a", "b", "c", "d")

_LETTER_OF_CODE = {
    code: letter
    for letter, codes in {"a": ("a", "1", "1.0", "i"), "b": ("b", "2", "2.0", "ii"),
                          "c": ("c", "3", "3.0", "iii"), "d": ("d", "4", "4.0", "iv")}.items()
    for code in codes
}  # fmt: skip

_LETTER_OF_WORDS = {
    "fatty": "a",
    "fat": "a",
    "almost entirely fatty": "a",
    "almost entirely fat": "a",
    "entirely fatty": "a",
    "predominantly fatty": "a",
    "scattered": "b",
    "scattered densities": "b",
    "scattered fibroglandular": "b",
    "scattered fibroglandular densities": "b",
    "scattered fibroglandular density": "b",
    "scattered areas of fibroglandular density": "b",
    "heterogeneous": "c",
    "heterogeneously dense": "c",
    "extreme": "d",
    "extremely dense": "d",
}

_PREFIX = re.compile(
    r"(?:(?:acr|bi-?rads|breast|tissue|composition|density|category|class|type|typ|grade|level)(?:[\s:=_-]+|(?=\d)))+"
)
_ASSESSMENT = re.compile(r"(?!.*(?:density|tissue|composition)).*bi-?rads.*")
_EXPLAINED = re.compile(r"(\w+)\s*(?:[-:=]\s|\()\s*(.+)")
_SPACES = re.compile(r"[\s_-]+")


def class_of(text: str, classes: Sequence[str]) -> int | None:
    """Return the position of the class that a cell states, or None."""
    if text in classes:
        return classes.index(text)
    if tuple(classes) == _BIRADS and (letter := _letter(text.lower())):
        return classes.index(letter)
    return None


def _letter(text: str) -> str | None:
    prefix = _PREFIX.match(text)
    rest = text[prefix.end() :] if prefix else text
    letter = _letter_of(rest)
    if letter and prefix and rest != letter and _ASSESSMENT.fullmatch(prefix[0]):
        return None
    return letter


def _letter_of(text: str) -> str | None:
    """Return the letter of a code or of words, or of a code explained by words: `b - scattered`, `(c)`, `02`."""
    text = text.strip(" ().")
    if explained := _EXPLAINED.fullmatch(text):
        letters = {_letter_of(explained[1]), _letter_of(explained[2])}
        return letters.pop() if len(letters) == 1 else None
    return _LETTER_OF_CODE.get(text.lstrip("0")) or _LETTER_OF_WORDS.get(_SPACES.sub(" ", text))

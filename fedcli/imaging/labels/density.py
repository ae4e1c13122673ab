"""How label tables write a class.

The plan's own names always win. Where the plan's classes are a, b, c, d, the four BI-RADS densities are understood as well: as
letters, numbers (also Roman, and as spreadsheets write them, 2.0), words, and with what tables put before them, such as ACR,
BI-RADS, density or category.

"BI-RADS 2" alone is not: BI-RADS with a number is how reports write the assessment, which says nothing about density.
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

_BEFORE = re.compile(r"(?:(?:acr|bi-?rads|breast|tissue|composition|density|category|class|type|grade)[\s:=_-]+)+")
_ASSESSMENT = re.compile(r"(?!.*(?:density|tissue|composition)).*bi-?rads.*")
_SPACES = re.compile(r"[\s_-]+")


def class_of(text: str, classes: Sequence[str]) -> int | None:
    """Return the position of the class that a cell means, or None."""
    if text in classes:
        return classes.index(text)
    if tuple(classes) == _BIRADS and (letter := _letter(text.lower())):
        return classes.index(letter)
    return None


def _letter(text: str) -> str | None:
    before = _BEFORE.match(text)
    rest = text[before.end() :] if before else text
    letter = _LETTER_OF_CODE.get(rest)
    if letter and before and rest != letter and _ASSESSMENT.fullmatch(before[0]):
        return None
    return letter or _LETTER_OF_WORDS.get(_SPACES.sub(" ", rest))

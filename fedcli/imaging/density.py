"""How label tables write a class.

The plan's own names always win. Where the plan's classes are a, b, c, d, the four BI-RADS densities, their letters, numbers and
words are understood as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_BIRADS = ("a", "b", "c", "d")

_BIRADS_OF_TEXT = {
    "a": "a",
    "1": "a",
    "1.0": "a",
    "density a": "a",
    "fatty": "a",
    "almost entirely fatty": "a",
    "entirely fatty": "a",
    "b": "b",
    "2": "b",
    "2.0": "b",
    "density b": "b",
    "scattered": "b",
    "scattered fibroglandular densities": "b",
    "scattered areas of fibroglandular density": "b",
    "c": "c",
    "3": "c",
    "3.0": "c",
    "density c": "c",
    "heterogeneous": "c",
    "heterogeneously dense": "c",
    "d": "d",
    "4": "d",
    "4.0": "d",
    "density d": "d",
    "extreme": "d",
    "extremely dense": "d",
}


def class_of(text: str, classes: Sequence[str]) -> int | None:
    """Return the position of the class that a cell means, or None."""
    if text in classes:
        return classes.index(text)
    if tuple(classes) == _BIRADS and (letter := _BIRADS_OF_TEXT.get(text.lower())):
        return classes.index(letter)
    return None

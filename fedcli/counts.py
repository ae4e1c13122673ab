"""Counts as messages write them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s in the plural: `1 file`, `3 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"

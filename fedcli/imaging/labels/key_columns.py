"""The columns of a label table that can identify images, and how its names and those of the images differ."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fedcli.imaging.labels.columns import LabelKey
from fedcli.text.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from fedcli.imaging.labels.columns import LabelTable
    from fedcli.imaging.mammogram import ImageMetadata

EMPTY = {"", "-", "na", "nan", "n/a", "null", "none"}
"""What programs write into an empty cell."""

_SIDES = {"l": "L", "left": "L", "r": "R", "right": "R"}
_OF_BOTH_SIDES = (LabelKey.ACCESSION, LabelKey.STUDY, LabelKey.PATIENT)


class LabelRow(NamedTuple):
    """A row of a label table.

    Attributes:
        line: Line in the table, counted from 1.
        name: What it identifies.
        side: The side of which images it holds, or '' for both.
        text: The class, as it is written.
    """

    line: int
    name: str
    side: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyColumn:
    """A column that may be the key.

    Attributes:
        key: What it identifies.
        column: Its name.
        rows: The rows of the table.
        keys: For each image its key in the table, or ''.
    """

    key: LabelKey
    column: str
    rows: tuple[LabelRow, ...]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, table: LabelTable, key: LabelKey, index: int, images: Mapping[str, ImageMetadata]) -> KeyColumn:
        """Return a table's column, joined with the images."""
        side = table.side if key in _OF_BOTH_SIDES else None
        rows = [
            LabelRow(
                line=row.line,
                name=normal_name(key, row.cells[index]),
                side="" if side is None else side_of(row.cells[side]),
                text=row.cells[table.label],
            )
            for row in table.content.rows
        ]
        keys = _keys_of(key, images, {row.name for row in rows} - {""})
        return cls(key=key, column=table.content.names[index], rows=tuple(rows), keys=tuple(keys))

    @property
    def num_images(self) -> int:
        """How many images it names."""
        return sum(map(bool, self.keys))

    def named(self, files: Mapping[str, ImageMetadata | None]) -> set[str]:
        """Return which of the column's names these files have, as far as anything is known about them."""
        known = {row.name for row in self.rows} - {""}
        if self.key is LabelKey.FILE:
            return set(names_of(list(files), known))
        return {getattr(metadata, self.key) for metadata in files.values() if metadata} & known

    def differences(self, images: Mapping[str, ImageMetadata]) -> list[str]:
        """Say how many images without a row would have one if names were written alike."""
        if self.key is LabelKey.FILE:
            return []
        lonely = {getattr(metadata, self.key) for metadata, key in zip(images.values(), self.keys, strict=True) if not key} - {""}
        unused = {row.name for row in self.rows} - set(self.keys) - {""}
        if not lonely or not unused:
            return []
        remarks = []
        for difference, written in _WRITINGS.items():
            if number := len({written(name) for name in lonely} & {written(name) for name in unused}):
                remarks.append(f"column {self.column}: {counted(number, 'image key')} would match {difference}")
                lonely -= {name for name in lonely if written(name) in {written(other) for other in unused}}
        return remarks


def _without_decimals(name: str) -> str:
    return re.sub(r"\.0+$", "", name)


_WRITINGS: Mapping[str, Callable[[str], str]] = {
    "in other case": str.casefold,
    "without .0": _without_decimals,
    "without leading zeros": lambda name: _without_decimals(name).lstrip("0"),
    "with other spaces": lambda name: "".join(name.split()),
    "in the Unicode form NFC": lambda name: unicodedata.normalize("NFC", name),
}


def side_of(text: str) -> str:
    """Return 'L' or 'R', or '' for any other text."""
    return _SIDES.get(text.lower(), "")


def normal_name(key: LabelKey, name: str) -> str:
    """Return a name as it is compared: '' for an empty cell, a path with `/`."""
    if name.lower() in EMPTY:
        return ""
    return name.replace("\\", "/").removeprefix("./") if key is LabelKey.FILE else name


def _keys_of(key: LabelKey, images: Mapping[str, ImageMetadata], known: set[str]) -> list[str]:
    """Return for each image its key in the table, or ''."""
    if key is LabelKey.FILE:
        return names_of(list(images), known)
    return [name if (name := getattr(metadata, key)) in known else "" for metadata in images.values()]


def names_of(files: Sequence[str], known: Collection[str]) -> list[str]:
    """Return for each file its name in the table, or ''.

    The table may use the file's path or, if no other file shares it, the path without extension, or the file name with or without
    extension.
    """
    trimmed = [posixpath.splitext(file)[0] for file in files]
    shorter = [(path, posixpath.basename(file), posixpath.basename(path)) for file, path in zip(files, trimmed, strict=True)]
    shared = Counter(name for names in shorter for name in set(names))
    return [
        next((name for name in (file, *names) if name in known and (name == file or shared[name] == 1)), "")
        for file, names in zip(files, shorter, strict=True)
    ]

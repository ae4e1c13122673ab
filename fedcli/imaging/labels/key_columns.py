"""The columns of a label table that can identify images, and how its names and those of the images differ."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedcli.imaging.labels.columns import LabelKey
from fedcli.imaging.labels.exam_dates import normal_dates
from fedcli.imaging.labels.resolution import LabelRow, Scope, is_empty
from fedcli.text.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from fedcli.imaging.labels.columns import LabelTable
    from fedcli.imaging.mammogram import ImageMetadata

_SIDES = {"l": "L", "left": "L", "r": "R", "right": "R"}
_OF_BOTH_SIDES = (LabelKey.ACCESSION, LabelKey.STUDY, LabelKey.PATIENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRows:
    """The rows of a table, keyed by one of its columns.

    Attributes:
        table: The table.
        key: What the column identifies.
        index: The column.
        dates: The date that each text of the column of dates stands for; none if rows hold for all exams.
    """

    table: LabelTable
    key: LabelKey
    index: int
    dates: Mapping[str, str]

    def __iter__(self) -> Iterator[LabelRow]:
        """Yield all rows."""
        content, side, date = self.table.content, self.table.side, self.table.date
        nothing = [""] * len(content.lines)
        sides = content.columns[side] if side is not None and self.key in _OF_BOTH_SIDES else nothing
        dates = content.columns[date] if date is not None and self.dates else nothing
        texts = content.columns[self.table.label]
        for line, name, of_side, of_date, text in zip(content.lines, self.names, sides, dates, texts, strict=True):
            yield LabelRow(line=line, name=name, scope=Scope(side_of(of_side), self.dates.get(of_date, "")), text=text)

    @property
    def names(self) -> Iterator[str]:
        """What each row identifies."""
        return (normal_name(self.key, cell) for cell in self.table.content.columns[self.index])


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyColumn:
    """A column that may be the key.

    Attributes:
        key: What it identifies.
        column: Its name.
        rows: The rows of the table.
        keys: For each image its key in the table, or ''.
        other_dates: Whether no row's date is the date of an image of its patient, though both have dates.
    """

    key: LabelKey
    column: str
    rows: KeyedRows
    keys: tuple[str, ...]
    other_dates: bool = False

    @classmethod
    def of(cls, table: LabelTable, key: LabelKey, index: int, files: Sequence[str], images: Sequence[ImageMetadata]) -> KeyColumn:
        """Return a table's column, joined with the images."""
        rows = KeyedRows(table=table, key=key, index=index, dates={})
        known = {name: name for name in rows.names if name}  # to keep the table's texts, not equal ones
        keys = names_of(files, known) if key is LabelKey.FILE else [_name_of(image, key, known) for image in images]
        item = cls(key=key, column=table.content.names[index], rows=rows, keys=tuple(known.get(name, "") for name in keys))
        return item if key is not LabelKey.PATIENT or table.date is None else item._with_dates(table.date, images)

    def _with_dates(self, column: int, images: Sequence[ImageMetadata]) -> KeyColumn:
        """Return the column with rows that hold for one date, if any row names an image of its date."""
        texts = self.rows.table.content.columns[column]
        dates = {text: "" if is_empty(text) else date for text, date in normal_dates(texts).items()}
        exams = {(key, image.date) for key, image in zip(self.keys, images, strict=True) if key}
        stated = ((name, dates[text]) for name, text in zip(self.rows.names, texts, strict=True) if dates[text])
        if any(exam in exams for exam in stated):
            return replace(self, rows=replace(self.rows, dates=dates))
        return replace(self, other_dates=any(date for _, date in exams) and any(dates.values()))

    @property
    def num_images(self) -> int:
        """How many images it names."""
        return sum(map(bool, self.keys))

    def keys_of(self, files: Sequence[str], images: Sequence[ImageMetadata | None]) -> list[str]:
        """Return which of the column's names each of other files has, or '', as far as anything is known about it."""
        known = set(self.rows.names) - {""}
        if self.key is LabelKey.FILE:
            return names_of(files, known)
        return ["" if image is None else _name_of(image, self.key, known) for image in images]

    def differences(self, files: Sequence[str], images: Sequence[ImageMetadata]) -> list[str]:
        """Say how many images without a row would have one if names were written alike."""
        pairs = zip(files, images, self.keys, strict=True)
        lonely = {_stem(file) if self.key is LabelKey.FILE else getattr(image, self.key) for file, image, key in pairs if not key}
        if not lonely - {""}:
            return []
        unused = set(self.rows.names) - set(self.keys) - {""}
        if self.key is LabelKey.FILE:
            unused = {_stem(name) for name in unused} - lonely
        remarks = []
        for difference, written in _WRITINGS.items():
            others = {written(other) for other in unused}
            if alike := {name for name in lonely if name and written(name) in others}:
                keys = counted(len({written(name) for name in alike}), "image key")
                remarks.append(f"column {self.column}: {keys} would match {difference}")
                lonely -= alike
        return remarks


def _without_decimals(name: str) -> str:
    return re.sub(r"\.0+$", "", name)


def _without_exponent(name: str) -> str:
    match = re.fullmatch(r"(\d)(?:[.,](\d+))?[eE]\+(\d\d?)", name)
    if match is None or len(digits := match[2] or "") > (power := int(match[3])):
        return name
    return match[1] + digits + "0" * (power - len(digits))


_WRITINGS: Mapping[str, Callable[[str], str]] = {
    "in other case": str.casefold,
    "without .0": _without_decimals,
    "without leading zeros": lambda name: _without_decimals(name).lstrip("0"),
    "without an exponent": _without_exponent,
    "with other spaces": lambda name: "".join(name.split()),
    "in the Unicode form NFC": lambda name: unicodedata.normalize("NFC", name),
}


def side_of(text: str) -> str:
    """Return 'L' or 'R', or '' for any other text."""
    return _SIDES.get(text.lower(), "")


def normal_name(key: LabelKey, name: str) -> str:
    """Return a name as it is compared: '' for an empty cell, a path with `/`."""
    if is_empty(name):
        return ""
    return name.replace("\\", "/").removeprefix("./") if key is LabelKey.FILE else name


def names_of(files: Sequence[str], known: Collection[str]) -> list[str]:
    """Return for each file its name in the table, or ''.

    The table may use the file's path or, if no other file shares it, the path without extension, or the file name with or without
    extension.
    """
    seen: set[str] = set()
    shared: set[str] = set()
    for file in files:
        names = {name for name in _shorter(file) if name in known}
        shared |= names & seen
        seen |= names
    return [
        next((name for name in (file, *_shorter(file)) if name in known and (name == file or name not in shared)), "")
        for file in files
    ]


def _shorter(file: str) -> tuple[str, str, str]:
    trimmed = posixpath.splitext(file)[0]
    return trimmed, posixpath.basename(file), posixpath.basename(trimmed)


def _stem(file: str) -> str:
    return _shorter(file)[2]


def _name_of(image: ImageMetadata, key: LabelKey, known: Collection[str]) -> str:
    return name if (name := getattr(image, key)) in known else ""

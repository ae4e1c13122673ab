"""From the rows that name an image to its class, or the reason why it has none.

A row that states a side or a date holds only for images of that side and date; a row without them, or an image without them,
takes all. The plan says what the class is if the sides of one patient, study or accession, or the exams of one patient, have
different ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from fedcli.imaging.labels.density import class_of
from fedcli.imaging.rejection import Reason
from fedcli.plan import Differing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EMPTY = {"", "-", "na", "nan", "n/a", "null", "none"}
"""What programs write into an empty cell."""


class Scope(NamedTuple):
    """Of which images a row holds, or what an image states; '' for all of them, or nothing.

    Attributes:
        side: 'L' or 'R'.
        date: The exam's date, YYYYMMDD.
    """

    side: str = ""
    date: str = ""

    def meets(self, other: Scope) -> bool:
        """Return whether a row of one scope can hold for an image of the other."""
        return all(not own or not others or own == others for own, others in zip(self, other, strict=True))

    def contains(self, other: Scope) -> bool:
        """Return whether it holds for everything for which the other one does."""
        return all(not own or own == others for own, others in zip(self, other, strict=True))


class LabelRow(NamedTuple):
    """A row of a label table.

    Attributes:
        line: Line in the table, counted from 1.
        name: What it identifies.
        scope: Of which of its images it holds.
        text: The class, as it is written.
    """

    line: int
    name: str
    scope: Scope
    text: str


class RowFault(StrEnum):
    """Why a row has no effect."""

    NO_KEY = "row names nothing"
    NO_CLASS = "row has no class"
    UNKNOWN_CLASS = "label is none of the classes"
    CONFLICT = "another row gives the same key another class"
    OTHER_SIDE = "the other side has another class"
    OTHER_EXAM = "another exam has another class"
    LEFT_OUT = "every image with this key is left out"
    NO_IMAGE = "no image has this key"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProblem:
    """A row without effect.

    Attributes:
        line: Line in the table, counted from 1.
        key: The row's key; an identifier, for the site's eyes only.
        fault: What is wrong with the row.
    """

    line: int
    key: str
    fault: RowFault


@dataclass(frozen=True, slots=True)
class _Meanings:
    """What the rows of one key mean.

    Attributes:
        items: Scopes of its rows, with positions of classes, None for what is no class.
        images: Scopes of its images.
    """

    items: tuple[tuple[Scope, int | None], ...] = ()
    images: tuple[Scope, ...] = ()

    def holds_for(self, row: Scope) -> bool:
        """Tell whether a row of this scope holds for any of the images."""
        return any(map(row.meets, self.images))

    def has_exam_of(self, row: Scope) -> bool:
        """Tell whether an image may be of the row's exam, or there is none at all; rows of other exams decide nothing."""
        return not self.images or self.holds_for(Scope(date=row.date))

    def of(self, image: Scope) -> set[int | None]:
        """Return what they mean for an image."""
        return {meaning for scope, meaning in self.items if scope.meets(image)}

    def beside(self, row: Scope) -> set[int | None]:
        """Return what a row and those that hold for all of its images mean."""
        return {meaning for scope, meaning in self.items if scope.contains(row)}

    @property
    def all(self) -> set[int | None]:
        return {meaning for _, meaning in self.items}

    @property
    def differ(self) -> bool:
        """Whether each scope has one class, but not the same."""
        return len(self.all) > 1 and all(len(self.of(scope)) == 1 for scope, _ in self.items)

    @property
    def exams_differ(self) -> bool:
        """Whether the exams differ, and not the sides of one."""
        return self.differ and all(len(self.of(Scope(date=scope.date))) == 1 for scope, _ in self.items)


_NOTHING = _Meanings()


def resolve(
    rows: Iterable[LabelRow],
    keys: Sequence[str],
    scopes: Sequence[Scope],
    classes: Sequence[str],
    differing: Differing,
    refused: Iterable[tuple[str, Scope]] = (),
) -> tuple[tuple[int | Reason, ...], tuple[RowProblem, ...]]:
    """Return for each image the position of its class or the reason why it has none, and the rows without effect.

    Args:
        rows: The table; it is read twice.
        keys: The key of each image, '' for none.
        scopes: The scope of each image.
        classes: The plan's classes.
        differing: What happens if sides or exams differ.
        refused: Key and scope of images that are left out.
    """
    left_out = _of_images(refused)
    meanings = _of_images(zip(keys, scopes, strict=True))
    meant: dict[str, int | None] = {}
    kept: dict[_Meanings, _Meanings] = {}  # many keys mean the same, which is in memory once
    for row in rows:
        if row.text not in meant:
            meant[row.text] = class_of(row.text, classes)
        before, item = meanings.get(row.name, _NOTHING), (row.scope, meant[row.text])
        if row.name and not is_empty(row.text, classes) and before.has_exam_of(row.scope) and item not in before.items:
            now = replace(before, items=(*before.items, item))
            meanings[row.name] = kept.setdefault(now, now)
    problems = []
    for row in rows:
        text = "" if is_empty(row.text, classes) else row.text
        of_key = meanings.get(row.name, _NOTHING)
        fault = _fault(row, text, of_key, differing, known=meant[row.text] is not None)
        if fault is None and not of_key.holds_for(row.scope):
            fault = RowFault.LEFT_OUT if left_out.get(row.name, _NOTHING).holds_for(row.scope) else RowFault.NO_IMAGE
        if fault:
            problems.append(RowProblem(line=row.line, key=row.name, fault=fault))
    images = zip(keys, scopes, strict=True)
    return tuple(_outcome(meanings.get(key, _NOTHING), scope, differing) for key, scope in images), tuple(problems)


def is_empty(text: str, classes: Sequence[str] = ()) -> bool:
    """Tell whether a cell is empty, as a program may write it; what the plan names as a class is not."""
    return text.lower() in EMPTY and text not in classes


def _of_images(images: Iterable[tuple[str, Scope]]) -> dict[str, _Meanings]:
    """Return for each key the scopes of its images; no row has been read yet."""
    kept: dict[_Meanings, _Meanings] = {}
    meanings: dict[str, _Meanings] = {}
    for key, scope in images:
        before = meanings.get(key, _NOTHING)
        if key and scope not in before.images:
            now = _Meanings(images=(*before.images, scope))
            meanings[key] = kept.setdefault(now, now)
    return meanings


def _fault(row: LabelRow, text: str, meanings: _Meanings, differing: Differing, *, known: bool) -> RowFault | None:
    """Return what is wrong with a row, whatever images there are."""
    if not row.name:
        return RowFault.NO_KEY
    if not text:
        return RowFault.NO_CLASS
    if not known or not meanings.has_exam_of(row.scope):
        return None if known else RowFault.UNKNOWN_CLASS
    scope = meanings.beside(row.scope) if differing is Differing.BY_IMAGE else meanings.all
    if len(scope) > 1 and not meanings.differ:
        return RowFault.CONFLICT
    if len(scope) > 1 and (differing is Differing.EXCLUDE or None in scope):
        return RowFault.OTHER_EXAM if meanings.exams_differ else RowFault.OTHER_SIDE
    return None


def _outcome(meanings: _Meanings, image: Scope, differing: Differing) -> int | Reason:
    own = meanings.of(image)
    if not own:
        return Reason.NO_LABEL
    if None in own:
        return Reason.UNKNOWN_CLASS
    scope = own if differing is Differing.BY_IMAGE else meanings.all
    known = [meaning for meaning in scope if meaning is not None]
    if len(scope) == 1 or (meanings.differ and differing is Differing.HIGHER and None not in scope):
        return max(known)
    if not meanings.differ or len(own) > 1:
        return Reason.CONFLICTING_LABELS
    return Reason.DIFFERING_EXAMS if meanings.exams_differ else Reason.DIFFERING_SIDES

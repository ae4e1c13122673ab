"""From the rows that name an image to its class, or the reason why it has none.

A row that states a side holds only for images of that side; a row without a side, or an image without one, takes both. The plan
says what the class is if the two sides of one patient, study or accession have different ones.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fedcli.imaging.labels.density import class_of
from fedcli.imaging.labels.key_columns import EMPTY
from fedcli.imaging.rejection import Reason
from fedcli.plan import Differing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from fedcli.imaging.labels.key_columns import LabelRow


class RowFault(StrEnum):
    """Why a row has no effect."""

    NO_KEY = "row names nothing"
    NO_CLASS = "row has no class"
    UNKNOWN_CLASS = "label is none of the classes"
    CONFLICT = "another row gives the same key another class"
    OTHER_SIDE = "the other side has another class"
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
    """What the rows of one key mean: for each side, or '' for both, positions of classes and None for what is no class."""

    sides: Mapping[str, set[int | None]]

    def of(self, side: str) -> set[int | None]:
        """Return what they mean for images of a side."""
        return self.all if not side else self.sides.get(side, set()) | self.sides.get("", set())

    @property
    def all(self) -> set[int | None]:
        return set().union(*self.sides.values())

    @property
    def differ(self) -> bool:
        """Whether each side has one class, but not the same."""
        return len(self.all) > 1 and all(len(self.of(side)) == 1 for side in self.sides)


def resolve(
    rows: Sequence[LabelRow],
    images: Sequence[tuple[str, str]],
    classes: Sequence[str],
    differing: Differing,
    refused: Collection[str] = (),
) -> tuple[tuple[int | Reason, ...], tuple[RowProblem, ...]]:
    """Return for each image the position of its class or the reason why it has none, and the rows without effect.

    Args:
        rows: The table.
        images: Key and side of each image, '' where there is none.
        classes: The plan's classes.
        differing: What happens if sides differ.
        refused: Keys of images that are left out.
    """
    rows = [row._replace(text="") if row.text.lower() in EMPTY and row.text not in classes else row for row in rows]
    meant = {text: class_of(text, classes) for text in {row.text for row in rows}}
    sides: dict[str, dict[str, set[int | None]]] = defaultdict(lambda: defaultdict(set))
    for row in rows:
        if row.name and row.text:
            sides[row.name][row.side].add(meant[row.text])
    meanings = {name: _Meanings(of_name) for name, of_name in sides.items()}
    used = {(key, other) for key, side in images for other in ({side, ""} if side else {"L", "R", ""})}

    def is_refused(row: LabelRow, fault: RowFault) -> bool:
        return fault is RowFault.NO_IMAGE and row.name in refused

    problems = [
        RowProblem(line=row.line, key=row.name, fault=RowFault.LEFT_OUT if is_refused(row, fault) else fault)
        for row in rows
        if (fault := _fault(row, meanings.get(row.name), used, differing, known=meant[row.text] is not None))
    ]
    return tuple(_outcome(meanings.get(key), side, differing) for key, side in images), tuple(problems)


def _fault(
    row: LabelRow, meanings: _Meanings | None, used: set[tuple[str, str]], differing: Differing, *, known: bool
) -> RowFault | None:
    if not row.name:
        return RowFault.NO_KEY
    if not row.text or meanings is None:
        return RowFault.NO_CLASS
    if not known:
        return RowFault.UNKNOWN_CLASS
    by_image = differing is Differing.BY_IMAGE
    scope = meanings.all if not by_image else meanings.of(row.side) if row.side else meanings.sides[""]
    if len(scope) > 1 and not meanings.differ:
        return RowFault.CONFLICT
    if len(scope) > 1 and (differing is Differing.EXCLUDE or None in scope):
        return RowFault.OTHER_SIDE
    return None if (row.name, row.side) in used else RowFault.NO_IMAGE


def _outcome(meanings: _Meanings | None, side: str, differing: Differing) -> int | Reason:
    own = meanings.of(side) if meanings else set()
    if not meanings or not own:
        return Reason.NO_LABEL
    if None in own:
        return Reason.UNKNOWN_CLASS
    scope = own if differing is Differing.BY_IMAGE else meanings.all
    known = [meaning for meaning in scope if meaning is not None]
    if len(scope) == 1 or (meanings.differ and differing is Differing.HIGHER and None not in scope):
        return max(known)
    return Reason.DIFFERING_SIDES if meanings.differ and side else Reason.CONFLICTING_LABELS

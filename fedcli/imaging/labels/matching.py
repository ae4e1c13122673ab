"""A table of labels → the class of each image, or the reason why it has none.

The table is keyed by one column: the most specific one, of those that are given or recognised, that names at least one image
(SOP instance, file, accession, study, patient). What does not fit together is never guessed: it is left out, and listed.

A table that names files may also tell whose they are: that is how a picture without a header gets its patient, side and view.
What a file says of itself is never replaced.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING

from fedcli.errors import DataError
from fedcli.imaging.dicom.views import VIEWS
from fedcli.imaging.labels.columns import Key
from fedcli.imaging.labels.density import class_of
from fedcli.imaging.rejection import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fedcli.imaging.labels.columns import LabelTable

_SIDES = {"l": "L", "left": "L", "r": "R", "right": "R"}


class Fault(StrEnum):
    """What can be wrong with a row."""

    NO_KEY = "row names nothing"
    NO_CLASS = "row has no class"
    UNKNOWN_CLASS = "label is none of the classes"
    CONFLICT = "another row gives the same key another class"
    NO_IMAGE = "no image has this key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a row may name of one image.

    Attributes:
        patient: Patient identifier.
        study: Study Instance UID.
        accession: Accession number.
        instance: SOP Instance UID.
        file: Path within the archive, with '/'.
    """

    patient: str
    study: str
    accession: str
    instance: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A row that has no effect.

    Attributes:
        line: Line in the table, counted from 1.
        key: What the row names; an identifier, for the site's eyes only.
        fault: What is wrong with it.
    """

    line: int
    key: str
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultCount:
    """How many rows have no effect for one fault."""

    fault: Fault
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The table, joined with the images.

    Attributes:
        key: What the table is keyed by.
        column: The name of that column.
        outcomes: For each image the position of its class, or the reason why it has none.
        problems: Rows without effect, in the order of the table.
    """

    key: Key
    column: str
    outcomes: tuple[int | Reason, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What the table tells of a file; '' where it does not, or where its rows contradict one another.

    Attributes:
        patient: Patient identifier, before the patient pattern.
        study: What identifies the study.
        accession: Accession number.
        laterality: 'L', 'R' or ''.
        view: 'CC', 'MLO', … or ''.
    """

    patient: str
    study: str
    accession: str
    laterality: str
    view: str


def tell(labels: LabelTable, files: Sequence[str]) -> Mapping[str, Telling]:
    """Return what the table tells of each file that it names; nothing where no column names files."""
    column = labels.column(Key.FILE)
    if column is None:
        return {}
    places = (*map(labels.column, (Key.PATIENT, Key.STUDY, Key.ACCESSION)), labels.side, labels.view)
    told: dict[str, Telling] = {}
    for row in labels.content.rows:
        name = _normal(Key.FILE, row.cells[column])
        telling = _telling(*("" if place is None else row.cells[place] for place in places))
        told[name] = telling if name not in told else _agreed(told[name], telling)
    names = _names_of(files, told.keys())
    return {file: told[name] for file, name in zip(files, names, strict=True) if name}


def join(labels: LabelTable, subjects: Sequence[Subject], classes: Sequence[str]) -> Labels:
    """Give each image its class.

    Raises:
        DataError: No row names any image.
    """
    for key, index in labels.keys:
        rows = [(row.line, _normal(key, row.cells[index]), row.cells[labels.label]) for row in labels.content.rows]
        keys = _keys_of(key, subjects, {name for _, name, _ in rows} - {""})
        if any(keys):
            outcomes, problems = _resolve(rows, keys, classes)
            column = labels.content.names[index]
            return Labels(key=key, column=column, outcomes=outcomes, problems=problems)
    columns = ", ".join(f"{labels.content.names[index]} ({key})" for key, index in labels.keys)
    msg = f"{labels.path}: no row names any of the {len(subjects)} images; tried the columns {columns}"
    raise DataError(msg, hint="if the table names patients otherwise than the images do, a patient pattern may help")


def fault_counts(problems: Iterable[Problem]) -> tuple[FaultCount, ...]:
    """Return the rows without effect by what is wrong with them, the commonest first."""
    counts = Counter(problem.fault for problem in problems)
    return tuple(FaultCount(fault=fault, rows=rows) for fault, rows in counts.most_common())


def _telling(patient: str, study: str, accession: str, side: str, view: str) -> Telling:
    view = view.upper()
    return Telling(
        patient=patient,
        study=study,
        accession=accession,
        laterality=_SIDES.get(side.lower(), ""),
        view=view if view in VIEWS else "",
    )


def _agreed(first: Telling, second: Telling) -> Telling:
    both = {item.name: (getattr(first, item.name), getattr(second, item.name)) for item in fields(Telling)}
    return Telling(**{name: one if one == other else "" for name, (one, other) in both.items()})


def _normal(key: Key, name: str) -> str:
    return name.replace("\\", "/").removeprefix("./") if key is Key.FILE else name


def _keys_of(key: Key, subjects: Sequence[Subject], known: Iterable[str]) -> list[str]:
    """Return for each image the name by which the table knows it, or ''."""
    if key is Key.FILE:
        return _names_of([subject.file for subject in subjects], known)
    known = set(known)
    return [name if (name := getattr(subject, key)) in known else "" for subject in subjects]


def _names_of(files: Sequence[str], known: Iterable[str]) -> list[str]:
    """Return for each file the name by which the table knows it, or ''.

    A file is known by its path or, where no other file shares it, by its path without ending, its name, or that without ending.
    """
    known = set(known)
    trimmed = [posixpath.splitext(file)[0] for file in files]
    shorter = [(path, posixpath.basename(file), posixpath.basename(path)) for file, path in zip(files, trimmed, strict=True)]
    shared = Counter(name for names in shorter for name in set(names))
    return [
        next((name for name in (file, *names) if name in known and (name == file or shared[name] == 1)), "")
        for file, names in zip(files, shorter, strict=True)
    ]


def _resolve(
    rows: Sequence[tuple[int, str, str]], keys: Sequence[str], classes: Sequence[str]
) -> tuple[tuple[int | Reason, ...], tuple[Problem, ...]]:
    meant = {text: class_of(text, classes) for text in {text for _, _, text in rows}}
    meanings: dict[str, set[int | None]] = {}
    for _, name, text in rows:
        if name and text:
            meanings.setdefault(name, set()).add(meant[text])
    used = set(keys)
    problems = []
    for line, name, text in rows:
        if fault := _fault(name, text, meanings.get(name, set()), used, known=meant[text] is not None):
            problems.append(Problem(line=line, key=name, fault=fault))
    return tuple(_outcome(meanings.get(key)) for key in keys), tuple(problems)


def _fault(name: str, text: str, meanings: set[int | None], used: set[str], *, known: bool) -> Fault | None:
    if not name:
        return Fault.NO_KEY
    if not text:
        return Fault.NO_CLASS
    if not known:
        return Fault.UNKNOWN_CLASS
    if len(meanings) > 1:
        return Fault.CONFLICT
    return None if name in used else Fault.NO_IMAGE


def _outcome(meanings: set[int | None] | None) -> int | Reason:
    if not meanings:
        return Reason.NO_LABEL
    if None in meanings:
        return Reason.UNKNOWN_CLASS
    if len(meanings) > 1:
        return Reason.CONFLICTING_LABELS
    return next(meaning for meaning in meanings if meaning is not None)

"""A table of labels → the class of each image, or the reason why it has none.

The table is keyed by one column: the most specific one, of those that are given or recognised, that names at least one image
(SOP instance, file, accession, study, patient). What does not fit together is never guessed: it is left out, and listed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fedcli.errors import DataError
from fedcli.imaging import table
from fedcli.imaging.density import class_of
from fedcli.imaging.rejection import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class Key(StrEnum):
    """What a row may name, from the most specific to the least."""

    INSTANCE = "instance"
    FILE = "file"
    ACCESSION = "accession"
    STUDY = "study"
    PATIENT = "patient"


class Fault(StrEnum):
    """What can be wrong with a row."""

    UNKNOWN_CLASS = "label is none of the classes"
    CONFLICT = "another row gives the same key another class"
    NO_IMAGE = "no image has this key"


_KEY_OF_COLUMN = {
    "sopinstanceuid": Key.INSTANCE,
    "sop_instance_uid": Key.INSTANCE,
    "sop instance uid": Key.INSTANCE,
    "instance": Key.INSTANCE,
    "file": Key.FILE,
    "filename": Key.FILE,
    "file_name": Key.FILE,
    "path": Key.FILE,
    "image_id": Key.FILE,
    "accessionnumber": Key.ACCESSION,
    "accession_number": Key.ACCESSION,
    "accession number": Key.ACCESSION,
    "accession": Key.ACCESSION,
    "acc_anon": Key.ACCESSION,
    "studyinstanceuid": Key.STUDY,
    "study_instance_uid": Key.STUDY,
    "study instance uid": Key.STUDY,
    "study_id": Key.STUDY,
    "study": Key.STUDY,
    "patientid": Key.PATIENT,
    "patient_id": Key.PATIENT,
    "patient id": Key.PATIENT,
    "patient": Key.PATIENT,
    "empi_anon": Key.PATIENT,
}

_CLASS_COLUMNS = ("density", "breast_density", "breast density", "breastdensity", "tissueden", "birads_density", "class", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelColumns:
    """Names of columns; '' means to recognise it.

    Attributes:
        instance: Holds SOP Instance UIDs.
        file: Holds paths within the archive, file names, or file names without their ending.
        accession: Holds accession numbers.
        study: Holds Study Instance UIDs.
        patient: Holds patient identifiers, as the patient pattern leaves them.
        label: Holds the class.
    """

    instance: str = ""
    file: str = ""
    accession: str = ""
    study: str = ""
    patient: str = ""
    label: str = ""


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
class LabelTable:
    """A table whose columns are known.

    Attributes:
        path: Where it was read.
        content: Its rows.
        keys: Columns that may be the key, from the most specific to the least.
        label: The column of the class.
    """

    path: Path
    content: table.Table
    keys: tuple[tuple[Key, int], ...]
    label: int


def read(path: Path, columns: LabelColumns) -> LabelTable:
    """Read a label table and find its columns.

    Raises:
        DataError: It is not a table, lacks a given column, or has no column that could be the key or the class.
    """
    content = table.read(path)
    found = f"found the columns {', '.join(content.names)}"
    given = {field.name: _given(path, content, getattr(columns, field.name), found) for field in fields(columns)}
    keys = [(key, given[key]) for key in Key if given[key] is not None]
    if not keys:
        recognised = [(_KEY_OF_COLUMN.get(name.lower()), index) for index, name in enumerate(content.names)]
        keys = [(key, index) for key in Key for candidate, index in recognised if candidate is key]
    if not keys:
        msg = f"{path}: no column names a patient, study, accession, SOP instance or file; {found}"
        raise DataError(msg, hint=f"recognised are {', '.join(_KEY_OF_COLUMN)}; or name the column yourself")
    label = given["label"]
    if label is None:
        label = next((index for name in _CLASS_COLUMNS if (index := content.column(name)) is not None), None)
    if label is None:
        msg = f"{path}: no column holds the class; {found}"
        raise DataError(msg, hint=f"recognised are {', '.join(_CLASS_COLUMNS)}; or name the column yourself")
    return LabelTable(
        path=path, content=content, keys=tuple((key, index) for key, index in keys if index is not None), label=label
    )


def join(labels: LabelTable, subjects: Sequence[Subject], classes: Sequence[str]) -> Labels:
    """Give each image its class.

    Raises:
        DataError: No row names any image.
    """
    for key, index in labels.keys:
        names = [(row.line, row.cells[index], row.cells[labels.label]) for row in labels.content.rows]
        rows = [(line, _normal(key, name), text) for line, name, text in names if name and text]
        keys = _keys_of(key, subjects, {name for _, name, _ in rows})
        if any(keys):
            outcomes, problems = _resolve(rows, keys, classes)
            column = labels.content.names[index]
            return Labels(key=key, column=column, outcomes=outcomes, problems=problems)
    columns = ", ".join(f"{labels.content.names[index]} ({key})" for key, index in labels.keys)
    msg = f"{labels.path}: no row names any of the {len(subjects)} images; tried the columns {columns}"
    raise DataError(msg, hint="if the table names patients otherwise than the images do, a patient pattern may help")


def _given(path: Path, content: table.Table, name: str, found: str) -> int | None:
    if not name:
        return None
    index = content.column(name)
    if index is None:
        msg = f"{path}: there is no column {name}; {found}"
        raise DataError(msg)
    return index


def _normal(key: Key, name: str) -> str:
    return name.replace("\\", "/").removeprefix("./") if key is Key.FILE else name


def _keys_of(key: Key, subjects: Sequence[Subject], known: set[str]) -> list[str]:
    """Return for each image the name by which the table knows it, or ''.

    A file is known by its path or, where no other image shares it, by its name with or without ending.
    """
    if key is not Key.FILE:
        return [name if (name := getattr(subject, key)) in known else "" for subject in subjects]
    paths = [PurePosixPath(subject.file) for subject in subjects]
    shared = Counter(name for path in paths for name in {path.name, path.stem})
    return [
        next(
            (name for name in (str(path), path.name, path.stem) if name in known and (name == str(path) or shared[name] == 1)), ""
        )
        for path in paths
    ]


def _resolve(
    rows: Iterable[tuple[int, str, str]], keys: Sequence[str], classes: Sequence[str]
) -> tuple[tuple[int | Reason, ...], tuple[Problem, ...]]:
    meanings: dict[str, set[int | None]] = {}
    for _, name, text in rows:
        meanings.setdefault(name, set()).add(class_of(text, classes))
    used = set(keys)
    problems = []
    for line, name, text in rows:
        fault = Fault.UNKNOWN_CLASS if class_of(text, classes) is None else None
        fault = fault or (Fault.CONFLICT if len(meanings[name]) > 1 else None)
        fault = fault or (Fault.NO_IMAGE if name not in used else None)
        if fault:
            problems.append(Problem(line=line, key=name, fault=fault))
    return tuple(_outcome(meanings.get(key)) for key in keys), tuple(problems)


def _outcome(meanings: set[int | None] | None) -> int | Reason:
    if not meanings:
        return Reason.NO_LABEL
    if None in meanings:
        return Reason.UNKNOWN_CLASS
    if len(meanings) > 1:
        return Reason.CONFLICTING_LABELS
    return next(meaning for meaning in meanings if meaning is not None)

"""A label table and what its columns hold: given by name, or recognised.

Names are recognised regardless of case, spaces and underscores; the column names of CBIS-DDSM, VinDr-Mammo, EMBED and RSNA are
among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING

from fedcli.errors import DataError
from fedcli.imaging.labels import csv_file

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.imaging.labels.csv_file import CsvFile


class LabelKey(StrEnum):
    """What a row can identify, from the most specific to the least."""

    INSTANCE = "instance"
    FILE = "file"
    ACCESSION = "accession"
    STUDY = "study"
    PATIENT = "patient"


_NAMES = {
    "instance": ("sopinstanceuid", "instance"),
    "file": ("file", "filename", "path", "filepath", "imageid", "image"),
    "accession": ("accessionnumber", "accession", "accanon"),
    "study": ("studyinstanceuid", "studyid", "study"),
    "patient": ("patientid", "patient", "empianon"),
    "side": ("side", "laterality", "imagelaterality", "imagelateralityfinal", "leftorrightbreast"),
    "view": ("view", "viewposition", "imageview"),
    "date": ("studydate", "studydateanon", "examdate", "date"),
    "label": ("density", "breastdensity", "tissueden", "biradsdensity", "class", "label"),
}
"""Column names in lower case, without spaces, underscores and other punctuation; the first match wins."""

_NAMED, _NAME_LENGTH = 60, 80
"""Columns that a message names, and characters of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelColumns:
    """Column names; '' stands for a recognised one. Braces compose a column from others: `{patient_id}_{image_id}`.

    Attributes:
        instance: SOP Instance UIDs.
        file: Paths within the archive or file names, with or without their extension.
        accession: Accession numbers.
        study: Study Instance UIDs.
        patient: Patient identifiers, after the patient pattern.
        side: The breast's side, for files that do not state it.
        view: The view, likewise.
        date: The date of the exam, likewise.
        label: The class.
    """

    instance: str = ""
    file: str = ""
    accession: str = ""
    study: str = ""
    patient: str = ""
    side: str = ""
    view: str = ""
    date: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """A table and the meaning of its columns.

    Attributes:
        path: The file.
        content: Its rows.
        keys: Columns that can be the key, from the most specific to the least.
        label: The column of the class.
        side: The column of the breast's side, or None.
        view: The column of the view, or None.
        date: The column of the exam's date, or None.
        other_labels: Names of other columns that may hold the class.
    """

    path: Path
    content: CsvFile
    keys: tuple[tuple[LabelKey, int], ...]
    label: int
    side: int | None
    view: int | None
    date: int | None
    other_labels: tuple[str, ...] = ()

    def column(self, key: LabelKey) -> int | None:
        """Return the first column that can hold a key, or None."""
        return next((index for candidate, index in self.keys if candidate is key), None)


def read(path: Path, columns: LabelColumns) -> LabelTable:
    """Read a label table and determine its columns.

    If any key column is given, only given ones are keys.

    Raises:
        DataError: It is not a table, lacks a given column, or has no column that could be the key or the class.
    """
    content = _composed(path, csv_file.read(path, lambda name: _is_needed(name, columns)), columns)
    given = {item.name: _given(path, content, getattr(columns, item.name)) for item in fields(columns)}
    keys = [(key, index) for key in LabelKey if (index := given[key]) is not None]
    if not keys:
        keys = [(key, index) for key in LabelKey for index in _recognised(content, key)]
    if not keys:
        raise _missing(path, content, "names a patient, study, accession, SOP instance or file", *LabelKey)
    label = _one(content, given, "label")
    if label is None:
        raise _missing(path, content, "holds the class", "label")
    side, view, date = (_one(content, given, what) for what in ("side", "view", "date"))
    others = [] if given["label"] is not None else _recognised(content, "label")[1:]
    return LabelTable(
        path=path,
        content=content,
        keys=tuple(keys),
        label=label,
        side=side,
        view=view,
        date=date,
        other_labels=tuple(content.names[index] for index in others),
    )


def _is_needed(name: str, columns: LabelColumns) -> bool:
    """Tell whether a column is given, composed into a given one, or recognised."""
    given = [getattr(columns, item.name) for item in fields(columns)]
    named = {part.lower() for template in given for part in (template, *csv_file.fields_of(template))}
    return name.lower() in named or any(_squeezed(name) in known for known in _NAMES.values())


def _composed(path: Path, content: CsvFile, columns: LabelColumns) -> CsvFile:
    """Return the table with the composed columns."""
    for template in dict.fromkeys(getattr(columns, item.name) for item in fields(columns)):
        if "{" in template and content.column(template) is None:
            try:
                content = content.composed(template)
            except KeyError as error:
                msg = f"{path}: there is no column {error.args[0]}, which {template} is composed from; {_columns_of(content)}"
                raise DataError(
                    msg, hint="--column names a column of the label table, or composes one from others: {patient}_{image}"
                ) from error
    return content


def _given(path: Path, content: CsvFile, name: str) -> int | None:
    if not name:
        return None
    index = content.column(name)
    if index is None:
        msg = f"{path}: there is no column {name}; {_columns_of(content)}"
        raise DataError(msg, hint="--column names a column of the label table")
    return index


def _one(content: CsvFile, given: dict[str, int | None], what: str) -> int | None:
    return index if (index := given[what]) is not None else next(iter(_recognised(content, what)), None)


def _recognised(content: CsvFile, what: str) -> list[int]:
    """Return the columns whose names say that they hold it."""
    return [index for known in _NAMES[what] for index, name in enumerate(content.names) if _squeezed(name) == known]


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _missing(path: Path, content: CsvFile, task: str, *whats: str) -> DataError:
    known = ", ".join(name for what in whats for name in _NAMES[what])
    hint = f"recognised names are {known}, in the first line, with or without spaces and underscores; or name it with --column"
    return DataError(f"{path}: no column {task}; {_columns_of(content)}", hint=hint)


def _columns_of(content: CsvFile) -> str:
    """Return the columns for a message; of many, or of long ones, only the beginning."""
    names = [name[:_NAME_LENGTH] for name in content.header[:_NAMED]]
    more = f" and {len(content.header) - _NAMED} more" if len(content.header) > _NAMED else ""
    return f"found the columns {', '.join(names)}{more}"

"""A label table and what its columns hold: given by name, or recognised.

Names are recognised whatever their case, spaces and underscores; those of CBIS-DDSM, VinDr-Mammo, EMBED and RSNA are among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING

from fedcli.errors import DataError
from fedcli.imaging.labels import table

if TYPE_CHECKING:
    from pathlib import Path


class Key(StrEnum):
    """What a row may name, from the most specific to the least."""

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
    "label": ("density", "breastdensity", "tissueden", "biradsdensity", "class", "label"),
}
"""Names of columns without spaces, underscores and the like, in lower case; the first ones win."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelColumns:
    """Names of columns; '' means to recognise it. A name with braces composes a column of others: `{patient_id}_{image_id}`.

    Attributes:
        instance: Holds SOP Instance UIDs.
        file: Holds paths within the archive or file names, with or without their ending.
        accession: Holds accession numbers.
        study: Holds Study Instance UIDs.
        patient: Holds patient identifiers, as the patient pattern leaves them.
        side: Holds the breast's side, for files that do not tell it themselves.
        view: Holds the view, likewise.
        label: Holds the class.
    """

    instance: str = ""
    file: str = ""
    accession: str = ""
    study: str = ""
    patient: str = ""
    side: str = ""
    view: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """A table whose columns are known.

    Attributes:
        path: Where it was read.
        content: Its rows.
        keys: Columns that may be the key, from the most specific to the least.
        label: The column of the class.
        side: The column of the breast's side, or None.
        view: The column of the view, or None.
    """

    path: Path
    content: table.Table
    keys: tuple[tuple[Key, int], ...]
    label: int
    side: int | None
    view: int | None

    def column(self, key: Key) -> int | None:
        """Return the first column that may hold a key, or None."""
        return next((index for found, index in self.keys if found is key), None)


def read(path: Path, columns: LabelColumns) -> LabelTable:
    """Read a label table and find its columns.

    Where a key is given, the given ones are the only keys.

    Raises:
        DataError: It is not a table, lacks a given column, or has no column that could be the key or the class.
    """
    content = _composed(path, table.read(path), columns)
    given = {item.name: _given(path, content, getattr(columns, item.name)) for item in fields(columns)}
    keys = [(key, index) for key in Key if (index := given[key]) is not None]
    if not keys:
        keys = [(key, index) for key in Key for index in _recognised(content, key)]
    if not keys:
        raise _missing(path, content, "names a patient, study, accession, SOP instance or file", *Key)
    label = _one(content, given, "label")
    if label is None:
        raise _missing(path, content, "holds the class", "label")
    side, view = (_one(content, given, what) for what in ("side", "view"))
    return LabelTable(path=path, content=content, keys=tuple(keys), label=label, side=side, view=view)


def _composed(path: Path, content: table.Table, columns: LabelColumns) -> table.Table:
    """Return the table with the columns that are composed of others."""
    for template in dict.fromkeys(getattr(columns, item.name) for item in fields(columns)):
        if "{" in template and content.column(template) is None:
            try:
                content = content.composed(template)
            except KeyError as error:
                msg = f"{path}: there is no column {error.args[0]}, of which {template} is composed; {_found(content)}"
                raise DataError(
                    msg, hint="--column names a column of the label table, or composes one: {patient}_{image}"
                ) from error
    return content


def _given(path: Path, content: table.Table, name: str) -> int | None:
    if not name:
        return None
    index = content.column(name)
    if index is None:
        msg = f"{path}: there is no column {name}; {_found(content)}"
        raise DataError(msg, hint="--column names a column of the label table")
    return index


def _one(content: table.Table, given: dict[str, int | None], what: str) -> int | None:
    found = given[what]
    return found if found is not None else next(iter(_recognised(content, what)), None)


def _recognised(content: table.Table, what: str) -> list[int]:
    """Return the columns whose names tell that they hold it."""
    squeezed = [re.sub(r"[\W_]", "", name).lower() for name in content.names]
    return [index for known in _NAMES[what] for index, name in enumerate(squeezed) if name == known]


def _missing(path: Path, content: table.Table, task: str, *whats: str) -> DataError:
    known = ", ".join(name for what in whats for name in _NAMES[what])
    hint = f"recognised are {known}, with or without spaces and underscores; or name the column with --column"
    return DataError(f"{path}: no column {task}; {_found(content)}", hint=hint)


def _found(content: table.Table) -> str:
    return f"found the columns {', '.join(content.names)}"

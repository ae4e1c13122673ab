"""The part of each patient: by a hash, or by a list.

The hash depends only on the plan's seed and the patient's identifier, so neither new patients nor corrected labels ever move a
patient to another part. It does not depend on the class, so the fractions hold in expectation within every class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fedcli.errors import DataError
from fedcli.imaging.labels import csv_file
from fedcli.plan import Part, Split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COLUMNS = ("patient", "part")
PartOf = Callable[[str], Part | None]
"""The part of a patient with this identifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartList:
    """An explicit assignment of patients to parts.

    Attributes:
        parts: The part of each patient, by identifier.
    """

    parts: Mapping[str, Part]

    def part_of(self, patient: str) -> Part | None:
        """Return a patient's part, or None where the list does not contain the patient."""
        return self.parts.get(patient)


def assignment(listed: Path | None, fractions: Split, seed: int, *, test_only: bool) -> PartOf:
    """Return what says each patient's part; None is for a patient whom a list does not contain.

    Args:
        listed: A split list; None uses the plan's fractions and seed.
        fractions: Those of the plan.
        seed: The plan's seed.
        test_only: Whether all patients are test patients, as at a tester.

    Raises:
        DataError: The list cannot be used, or a tester's list has other patients.
    """
    if listed is not None:
        part_list = read(listed)
        if test_only and set(part_list.parts.values()) - {Part.TEST}:
            msg = f"{listed}: the list has training or validation patients, expected only test patients at a tester"
            raise DataError(msg, hint="leave --split out")
        return part_list.part_of
    if test_only:
        return lambda _: Part.TEST
    return partial(part_of, split=fractions, seed=seed)


def part_of(patient: str, *, split: Split, seed: int) -> Part:
    """Return the part of a patient.

    Args:
        patient: The patient's identifier.
        split: Expected fractions of the parts.
        seed: The plan's seed.
    """
    digest = hashlib.sha256("\0".join((str(seed), patient)).encode("utf-8", "surrogateescape")).digest()
    position = int.from_bytes(digest[:6], "big") / (1 << 48)
    if position < split.train:
        return Part.TRAIN
    # If the plan has no test part, rounding of the sum must not create one.
    return Part.VALIDATION if position < split.train + split.validation or not split.test else Part.TEST


def read(path: Path) -> PartList:
    """Read a CSV with the columns patient and part.

    Raises:
        DataError: The file is not such a table, names an unknown part, or a patient twice with different parts.
    """
    hint = "a split list has the columns patient and part; the parts are " + ", ".join(Part)
    table = csv_file.read(path)
    columns = [table.column(name) for name in COLUMNS]
    if None in columns:
        msg = f"{path}: expected the columns {' and '.join(COLUMNS)}, found {', '.join(table.names)}"
        raise DataError(msg, hint=hint)
    parts: dict[str, Part] = {}
    for row in table.rows:
        patient, text = (row.cells[index] for index in columns if index is not None)
        if text.lower() not in tuple(Part):
            msg = f"{path}, line {row.line}: expected a part, found {text!r}"
            raise DataError(msg, hint=hint)
        part = Part(text.lower())
        if parts.setdefault(patient, part) is not part:
            msg = f"{path}, line {row.line}: this patient is in two parts, {parts[patient]} and {part}"
            raise DataError(msg, hint=hint)
    return PartList(parts=parts)

"""Which part a patient belongs to: hashed from the plan's seed, or listed.

The hash knows nothing but the seed and the patient's identifier, so that neither new patients nor a corrected label ever move a
patient from one part to another, and the workspace's secret has no part in it. As it does not depend on the class, the fractions
hold in expectation within every class.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import DataError
from fedcli.imaging.labels import table
from fedcli.plan import Part, Split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COLUMNS = ("patient", "part")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartList:
    """An explicit assignment of patients to parts.

    Attributes:
        parts: The part of each patient, by identifier.
    """

    parts: Mapping[str, Part]

    def part_of(self, patient: str) -> Part | None:
        """Return a patient's part, or None where the list lacks the patient."""
        return self.parts.get(patient)


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
    # Without test patients, the rounding of the sum must not make one.
    return Part.VALIDATION if position < split.train + split.validation or not split.test else Part.TEST


def read(path: Path) -> PartList:
    """Read a CSV with the columns patient and part.

    Raises:
        DataError: The file is not such a table, names an unknown part, or a patient twice with different parts.
    """
    hint = "a split list has the columns patient and part; parts are " + ", ".join(Part)
    rows = table.read(path)
    columns = [rows.column(name) for name in COLUMNS]
    if None in columns:
        msg = f"{path}: expected the columns {' and '.join(COLUMNS)}, found {', '.join(rows.names)}"
        raise DataError(msg, hint=hint)
    parts: dict[str, Part] = {}
    for row in rows.rows:
        patient, text = (row.cells[index] for index in columns if index is not None)
        if text.lower() not in tuple(Part):
            msg = f"{path}, line {row.line}: expected a part, found {text!r}"
            raise DataError(msg, hint=hint)
        part = Part(text.lower())
        if parts.setdefault(patient, part) is not part:
            msg = f"{path}, line {row.line}: this patient stands in two parts, {parts[patient]} and {part}"
            raise DataError(msg, hint=hint)
    return PartList(parts=parts)

"""The index of a prepared data set: one row per image, without identifiers.

Patients and studies appear as keyed hashes under the workspace's secret; without the secret nobody can find out whether a patient
is among them.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.plan import Part
from fedcli.private_files import SECRET_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = ("row", "patient", "study", "laterality", "view", "class", "part")

_PSEUDONYM_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One image's row of the index.

    Attributes:
        row: Its position in images.npy.
        patient: Pseudonym of the patient.
        study: Pseudonym of the study.
        laterality: 'L', 'R' or ''.
        view: 'CC', 'MLO', … or ''.
        label: Its class, by name.
        part: Its patient's part.
    """

    row: int
    patient: str
    study: str
    laterality: str
    view: str
    label: str
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Pseudonyms:
    """HMAC-SHA256 under a secret, truncated to 16 hexadecimal digits; each kind of identifier has its own hashes.

    Attributes:
        secret: The workspace's secret, 32 bytes.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a secret of another length.

        Raises:
            UsageError: It has another length.
        """
        if len(self.secret) != SECRET_BYTES:
            msg = f"the secret has {SECRET_BYTES} bytes, found {len(self.secret)}"
            raise UsageError(msg)

    def patient(self, identifier: str) -> str:
        """Return the pseudonym of a patient."""
        return self._hash("patient", identifier)

    def study(self, identifier: str) -> str:
        """Return the pseudonym of a study."""
        return self._hash("study", identifier)

    def file(self, path: str) -> str:
        """Return the pseudonym of a file's path within the archive."""
        return self._hash("file", path)

    def _hash(self, kind: str, identifier: str) -> str:
        message = f"{kind}\0{identifier}".encode("utf-8", "surrogateescape")
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:_PSEUDONYM_DIGITS]


def encode_index(cases: Sequence[Case]) -> bytes:
    """Return the content of the index."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for case in cases:
        writer.writerow((case.row, case.patient, case.study, case.laterality, case.view, case.label, case.part.value))
    return text.getvalue().encode()


def decode_index(data: bytes) -> tuple[Case, ...]:
    """Return the rows of an index.

    Raises:
        ValueError: The content is not what `encode_index` returns.
    """
    rows = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    try:
        cases = tuple(_case(row) for row in list(rows)[1:])
    except csv.Error as error:
        msg = f"line {rows.line_num}: {error}"
        raise ValueError(msg) from error
    if encode_index(cases) != data:
        msg = f"expected the columns {', '.join(COLUMNS)}, written by prepare"
        raise ValueError(msg)
    return cases


def _case(cells: list[str]) -> Case:
    row, patient, study, laterality, view, label, part = cells
    return Case(row=int(row), patient=patient, study=study, laterality=laterality, view=view, label=label, part=Part(part))

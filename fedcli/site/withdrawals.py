"""The patients that withdraw, as the operator lists them, and with the rounds that trained them, for the site's eyes only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.disk import write_whole
from fedcli.errors import DataError
from fedcli.imaging.labels import csv_file
from fedcli.site.training_log import rounds_by_patient
from fedcli.text.csv_text import csv_text
from fedcli.text.wording import number_ranges

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.imaging.dataset.index import Pseudonyms
    from fedcli.workspace import Workspace

_LIST = "withdrawals.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """A patient that withdraws: identifier, hash, and the rounds whose update this site trained with it."""

    patient: str
    hash: str
    rounds: tuple[int, ...]


def read_withdrawals(path: Path, workspace: Workspace, pseudonyms: Pseudonyms) -> tuple[Withdrawal, ...]:
    """Return the patients in the column `patient` of a table.

    Raises:
        DataError: The table cannot be read, or has no such column.
    """
    table = csv_file.read(path)
    column = table.column("patient")
    if column is None:
        msg = f"{path}: expected the column patient, found {', '.join(table.names)}"
        raise DataError(msg)
    rounds = rounds_by_patient(workspace)
    hashes = {row.cells[column]: pseudonyms.patient(row.cells[column]) for row in table.rows}
    return tuple(Withdrawal(patient=name, hash=key, rounds=rounds.get(key, ())) for name, key in hashes.items())


def write_withdrawals(workspace: Workspace, withdrawals: tuple[Withdrawal, ...]) -> Path:
    """Write the list into the workspace, readable by its owner only, and return its path."""
    path = workspace.path(_LIST)
    rows = [(item.patient, number_ranges(item.rounds)) for item in withdrawals]
    write_whole(path, csv_text([("patient", "trained in rounds"), *rows]).encode("utf-8", "surrogateescape"), mode=0o600)
    return path

"""Which patients trained in which round: hashes in the workspace, for the site's eyes, needed when a patient withdraws.

trained/rounds.csv         of every round in which this site has trained: which of the lists below, and the digest of the data
trained/<digest12>.csv     a list of training patients, named by its SHA-256
withdrawn.csv              the patients that have withdrawn; no data are prepared with them again
"""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.disk import write_whole
from fedcli.exchange import layout
from fedcli.exchange.sent_log import SentLog
from fedcli.imaging.dataset.index import decode_index
from fedcli.imaging.dataset.prepared_dataset import INDEX
from fedcli.plan import Part

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from fedcli.imaging.dataset.prepared_dataset import PreparedDataset
    from fedcli.workspace import Workspace

_ROUNDS = ("trained", "rounds.csv")
_WITHDRAWN = "withdrawn.csv"
_OWNER_ONLY = 0o600


def note_training(workspace: Workspace, number: int, data: PreparedDataset) -> None:
    """Note with which patients a round trains."""
    patients = {patient for patient, part in zip(data.patients, data.parts, strict=True) if part is Part.TRAIN}
    _note(workspace, (number,), patients, data.digest)


def data_of(workspace: Workspace, number: int) -> str | None:
    """Return the digest of the prepared data in a round; None if it was not noted."""
    noted = _noted(workspace).get(number)
    return noted[1] or None if noted else None


def note_earlier_rounds(workspace: Workspace) -> None:
    """Note rounds from before the log began: they are taken to have trained with the data that are prepared now.

    It is called before other data are prepared.
    """
    path = workspace.prepared_path / INDEX
    with suppress(FileNotFoundError, ValueError):
        patients = {case.patient for case in decode_index(path.read_bytes()) if case.part is Part.TRAIN}
        _note(workspace, set(_sent_rounds(workspace)) - set(_noted(workspace)), patients, "")


def rounds_by_patient(workspace: Workspace) -> dict[str, tuple[int, ...]]:
    """Return the rounds whose update this site has sent after training with a patient, by the patient's hash."""
    noted = _noted(workspace)
    rounds: dict[str, list[int]] = {}
    for number in _sent_rounds(workspace):
        for patient in _column(_list(workspace, noted[number][0]), 0) if number in noted else ():
            rounds.setdefault(patient, []).append(number)
    return {patient: tuple(listed) for patient, listed in rounds.items()}


def withdrawn_patients(workspace: Workspace) -> frozenset[str]:
    """Return the hashes of the patients that have withdrawn."""
    return frozenset(_column(workspace.path(_WITHDRAWN), 0))


def withdraw_patients(workspace: Workspace, patients: Iterable[str]) -> frozenset[str]:
    """Remember the hashes of patients that withdraw, and return those of all that have withdrawn."""
    withdrawn = withdrawn_patients(workspace) | {*patients}
    if withdrawn:
        table = _table(("patient",), ((patient,) for patient in sorted(withdrawn)))
        write_whole(workspace.path(_WITHDRAWN), table, mode=_OWNER_ONLY)
    return withdrawn


def _sent_rounds(workspace: Workspace) -> tuple[int, ...]:
    sent = SentLog(workspace.path("sent.log")).lines()
    return layout.numbers(tuple(line.key for line in sent), f"{layout.prefix(workspace.settings.name)}round-{{}}/update.json")


def _note(workspace: Workspace, numbers: Collection[int], patients: set[str], data: str) -> None:
    if not numbers:
        return
    table = _table(("patient",), ((patient,) for patient in sorted(patients)))
    name = wire.sha256(table)[: wire.SHORT_DIGEST]
    write_whole(_list(workspace, name), table, mode=_OWNER_ONLY)
    noted = _noted(workspace) | dict.fromkeys(numbers, (name, data))
    rows = ((number, *names) for number, names in sorted(noted.items()))
    write_whole(workspace.path(*_ROUNDS), _table(("round", "patients", "data"), rows), mode=_OWNER_ONLY)


def _noted(workspace: Workspace) -> dict[int, tuple[str, str]]:
    """Return the name of the list of patients and the digest of the data, by round."""
    numbers, names, data = (_column(workspace.path(*_ROUNDS), position) for position in range(3))
    return dict(zip(map(int, numbers), zip(names, data, strict=True), strict=True))


def _list(workspace: Workspace, name: str) -> Path:
    return workspace.path("trained", f"{name}.csv")


def _column(path: Path, position: int) -> list[str]:
    if not path.is_file():
        return []
    return [row[position] for row in list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:]]


def _table(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue().encode()

"""Write into a drop folder what a tar contains.

Conflicts are reported → the tar and the folder are verified together, as one history → only then are files written, in the
protocol's order. If it is interrupted, the next run goes on; a second run writes nothing.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.errors import ConflictError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.bounds import MAX_APPLICANTS, Bounds
from fedcli.exchange.history import Problem
from fedcli.exchange.overlay import Overlay
from fedcli.exchange.records import (
    MAX_MEMBERS,
    MAX_RECORD_BYTES,
    ClosingRecord,
    FederationRecord,
    MasksRecord,
    OpeningRecord,
    RoundRecord,
    SumRecord,
    UnmaskRecord,
    UpdateRecord,
)
from fedcli.exchange.store.rights import unshared
from fedcli.exchange.tar import Tar
from fedcli.party.folder import Folder
from fedcli.party.history.history_reader import read_history
from fedcli.party.history.inspection import chain_problems, confirmation, inspect_artifacts
from fedcli.party.history.records_read import round_of
from fedcli.party.transfer.tar_members import files_of, private_copy, read_verified
from fedcli.results import Result, Status
from fedcli.text.wording import counted

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import Record
    from fedcli.exchange.store import Store
    from fedcli.party.history.records_read import Reading
    from fedcli.party.source import Source
    from fedcli.party.transfer.tar_members import DropFile
    from fedcli.progress import Progress

_LISTED = 5
_ORDER = (OpeningRecord, UpdateRecord, ClosingRecord, UnmaskRecord, SumRecord, RoundRecord)
"""In which order the records of a round follow from one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What to import.

    Attributes:
        source: The drop folder that gets the tar's files.
        file: The tar.
    """

    source: Source
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult(Result):
    """What a tar has added.

    Attributes:
        file: The tar.
        records: Records that are new in the drop folder.
        artifacts: Artifacts that are new there.
        known: Files of the tar that were there before.
        round: The newest round there now.
        verified: Whether the coordinator's key is one that was given or pinned.
    """

    file: str
    records: int
    artifacts: int
    known: int
    round: int
    verified: bool


def import_(request: ImportRequest, environment: Environment) -> ImportResult:
    """Verify a tar together with a drop folder, then write what is new.

    Raises:
        ConflictError: The drop folder and the tar have different bytes for one record; nothing was written.
        TrustError: Something in the tar does not verify; nothing was written.
        StoreError: The drop folder cannot be read or written.
    """
    tar = Tar(request.file)
    with tempfile.TemporaryDirectory(prefix="fedcli-import-") as scratch:
        store = request.source.open()
        here = _keys_in(store, tar)
        _refuse_conflicts(store, here, tar)
        folder = Folder(Overlay(tar, store), coordinator=request.source.coordinator, cache=Path(scratch) / "cache")
        history, reading = read_history(folder, applicants=True)
        _verify(history, reading, here, tar, environment.progress)
        if not here:
            store.probe(layout.prefix(layout.COORDINATOR))
        files = [file for verified in _in_order(reading, tar) for file in files_of(verified) if tar.stat(file.key) is not None]
        new = [file for file in files if file.key not in here]
        _write(store, tar, new, Path(scratch), environment.progress)
        if new and (finding := unshared(store, new[-1].key)) is not None:
            environment.progress.event(f"{finding.message}: {finding.remedy}")
        num_artifacts = sum(layout.is_artifact(file.key) for file in new)
        num_records = sum(file.key.endswith(".json") for file in new)
        extent = f"{num_records} records and {num_artifacts} artifacts are new" if new else "nothing is new"
        return ImportResult(
            status=Status.PUBLISHED if new else Status.DONE,
            message=f"{request.file}: {extent} in {store.address}; {confirmation(folder.ledger)}",
            file=str(request.file),
            records=num_records,
            artifacts=num_artifacts,
            known=len(files) - len(new),
            round=len(history.rounds) - 1,
            verified=folder.ledger.pinned is not None,
        )


def _keys_in(store: Store, tar: Tar) -> frozenset[str]:
    """Return the keys in the drop folder of all parties that it or the tar has."""
    sites = store.names("sites/", MAX_MEMBERS + MAX_APPLICANTS)
    parties = {layout.COORDINATOR, *filter(layout.is_site, sites), *map(layout.owner, tar.list(""))}
    listings = store.list_each(sorted(map(layout.prefix, parties)), Bounds().files)
    return frozenset(key for listing in listings.values() for key in listing.keys)


def _refuse_conflicts(store: Store, here: frozenset[str], tar: Tar) -> None:
    """Compare the records and signatures that both have; artifacts are what their records say, or do not verify."""
    both = [key for key in tar.list("") if key in here and not layout.is_artifact(key)]
    conflicts = [key for key in both if store.read(key, MAX_RECORD_BYTES) != tar.read(key, MAX_RECORD_BYTES)]
    if conflicts:
        more = " …" if len(conflicts) > _LISTED else ""
        msg = f"{', '.join(conflicts[:_LISTED])}{more}: {store.address} has other bytes than {tar.address}"
        hint = "it is another federation, or somebody has signed two records for one place: keep both, and ask the coordinator"
        raise ConflictError(msg, hint=hint)


def _verify(history: History, reading: Reading, here: frozenset[str], tar: Tar, progress: Progress) -> None:
    """Check the chain and the tar's files: every record, every new artifact of theirs, and nothing else may be there."""
    keys = frozenset(tar.list(""))
    records = [verified for verified in reading.records if verified.key in keys]
    artifacts = {artifact.key for verified in records for artifact in verified.artifacts}
    new = {key for key in artifacts if key in keys or key not in here}
    inspect_artifacts(reading, progress, {item.key for verified in reading.records for item in verified.artifacts} - new)
    problems = chain_problems(history, reading)
    problems += [item for item in reading.problems if item not in problems and (item.key in keys or item.key not in here)]
    named = {file.key for verified in records for file in files_of(verified)}
    refused = {problem.key for problem in problems}
    strays = [key for key in sorted(keys - named) if not refused & {key, f"{key.partition('.json')[0]}.json"}]
    problems += [Problem(key=key, message=f"{key}: no verified record names this file") for key in strays]
    if problems:
        listed = "; ".join(item.message for item in problems[:_LISTED]) + (" …" if len(problems) > _LISTED else "")
        msg = f"{tar.address}: not imported, {counted(len(problems), 'problem')}: {listed}"
        hint = "nothing was written; if earlier rounds are missing here, export again with a lower --since"
        raise TrustError(msg, hint=hint)


def _in_order(reading: Reading, tar: Tar) -> list[Verified[Record]]:
    """Return the tar's records in the protocol's order, so that a reader never finds one before what it refers to."""

    def place(verified: Verified[Record]) -> tuple[int, int, int, str]:
        number = round_of(verified.record)
        if number is None:
            first = {FederationRecord: 0, MasksRecord: 1}.get(type(verified.record))
            return (2, 0, 0, verified.key) if first is None else (0, first, 0, verified.key)
        return (1, number, _ORDER.index(type(verified.record)), verified.key)

    return sorted((verified for verified in reading.records if tar.stat(verified.key) is not None), key=place)


def _write(store: Store, tar: Tar, files: list[DropFile], scratch: Path, progress: Progress) -> None:
    with progress.track("importing", len(files), "files") as advance:
        for file in files:
            if layout.is_artifact(file.key):
                with private_copy(tar, file, scratch) as path:
                    store.put_artifact(file.key, path)
            else:
                store.publish(file.key, read_verified(tar, file))
            advance(1, "")

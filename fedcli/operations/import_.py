"""Bring what a tar carries into a drop folder.

Conflicts are named → the tar and the folder are verified together, as the one history that they must be → only then is anything
written, in the protocol's order. Cut off anywhere and run again, it goes on where it was; run twice, it writes nothing.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.errors import ConflictError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.history import Problem
from fedcli.exchange.overlay import Overlay
from fedcli.exchange.records import MAX_RECORD_BYTES, FederationRecord, RoundRecord
from fedcli.exchange.tar import Tar
from fedcli.party import tar_contents
from fedcli.party.folder import Folder
from fedcli.party.history_reader import read_history, round_of
from fedcli.party.inspection import inspect_artifacts
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import Record
    from fedcli.exchange.store import Store, StoreOptions
    from fedcli.party.history_reader import Reading
    from fedcli.progress import Progress

_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult(Result):
    """What a tar has brought.

    Attributes:
        file: The tar.
        records: Records that are new here.
        artifacts: Artifacts that are new here.
        known: Files of the tar that were here before.
        round: The newest round here now.
        verified: Whether the coordinator's key is one that was given or pinned.
    """

    file: str
    records: int
    artifacts: int
    known: int
    round: int
    verified: bool


def import_(
    path: Path,
    drop: str | None,
    root: Path,
    *,
    progress: Progress,
    coordinator: str | None = None,
    options: StoreOptions | None = None,
) -> ImportResult:
    """Verify a tar together with a drop folder, then write what is new.

    Args:
        path: The tar.
        drop: The drop folder's address; None takes the workspace's, with its pinned key.
        root: The workspace.
        progress: Told of every file.
        coordinator: Fingerprint of the coordinator's first key.
        options: How the given drop folder is reached.

    Raises:
        ConflictError: A place in the drop folder holds another record than the tar; nothing was written.
        TrustError: Something in the tar does not verify; nothing was written.
        StoreError: The drop folder cannot be read or written.
    """
    found = Tar(path)
    with tempfile.TemporaryDirectory(prefix="fedcli-import-") as scratch:
        store, pinned = tar_contents.open_drop(drop, options, root, coordinator)
        here = frozenset(store.list(""))
        _refuse_conflicts(store, here, found)
        folder = Folder(Overlay(found, store), coordinator=pinned, cache=Path(scratch) / "cache")
        history, reading = read_history(folder)
        _verify(history, reading, here, found, progress)
        if not here:
            store.probe(layout.prefix(layout.COORDINATOR))
        brought = [
            file for item in _in_order(reading, found) for file in tar_contents.files_of(item) if found.stat(file.key) is not None
        ]
        new = [file for file in brought if file.key not in here]
        _write(store, found, new, Path(scratch), progress)
        num_artifacts = sum(layout.is_artifact(file.key) for file in new)
        num_records = sum(file.key.endswith(".json") for file in new)
        said = f"{num_records} records and {num_artifacts} artifacts are new" if new else "nothing is new"
        return ImportResult(
            status=Status.PUBLISHED if new else Status.DONE,
            message=f"{path}: {said} in {store.address}; {tar_contents.confirmation(folder.ledger)}",
            file=str(path),
            records=num_records,
            artifacts=num_artifacts,
            known=len(brought) - len(new),
            round=len(history.rounds) - 1,
            verified=folder.ledger.pinned is not None,
        )


def _refuse_conflicts(store: Store, here: frozenset[str], found: Tar) -> None:
    """Compare the records and signatures that both have; artifacts are what their records say, or do not verify."""
    both = [key for key in found.list("") if key in here and not layout.is_artifact(key)]
    conflicts = [key for key in both if store.read(key, MAX_RECORD_BYTES) != found.read(key, MAX_RECORD_BYTES)]
    if conflicts:
        more = " …" if len(conflicts) > _NAMED else ""
        msg = f"{', '.join(conflicts[:_NAMED])}{more}: {store.address} holds other bytes than {found.address}"
        raise ConflictError(msg, hint="another federation, or somebody has signed two records for one place: keep both, and ask")


def _verify(history: History, reading: Reading, here: frozenset[str], found: Tar, progress: Progress) -> None:
    """Check the chain, and what the tar brings: every record, every artifact of theirs that is new, and nothing else."""
    keys = frozenset(found.list(""))
    brought = [item for item in reading.every if item.key in keys]
    new = {artifact.key for item in brought for artifact in item.artifacts if artifact.key in keys or artifact.key not in here}
    inspect_artifacts(reading, progress, {artifact.key for item in reading.every for artifact in item.artifacts} - new)
    chain = tar_contents.faults_of_chain(history, reading)
    problems = chain + [item for item in reading.problems if item not in chain and (item.key in keys or item.key not in here)]
    named = {file.key for item in brought for file in tar_contents.files_of(item)}
    refused = {problem.key for problem in problems}
    strays = [key for key in sorted(keys - named) if not refused & {key, f"{key.partition('.json')[0]}.json"}]
    problems += [Problem(key=key, message=f"{key}: no verified record names this file") for key in strays]
    if problems:
        shown = "; ".join(item.message for item in problems[:_NAMED])
        msg = f"{found.address}: not imported, {len(problems)} problems: {shown}{' …' if len(problems) > _NAMED else ''}"
        raise TrustError(
            msg, hint="nothing was written; where earlier rounds are missing here, export again with a lower --since"
        )


def _in_order(reading: Reading, found: Tar) -> list[Verified[Record]]:
    """Return the tar's records in an order in which whoever looks meanwhile finds nothing that is not there yet."""

    def place(item: Verified[Record]) -> tuple[int, int, bool, str]:
        number = round_of(item.record)
        if number is None:
            return (0 if isinstance(item.record, FederationRecord) else 2, 0, False, item.key)
        return (1, number, isinstance(item.record, RoundRecord), item.key)

    return sorted((item for item in reading.every if found.stat(item.key) is not None), key=place)


def _write(store: Store, found: Tar, files: list[tar_contents.File], scratch: Path, progress: Progress) -> None:
    with progress.track("importing", len(files), "files") as advance:
        for file in files:
            if layout.is_artifact(file.key):
                with tar_contents.private_copy(found, file, scratch) as path:
                    store.put_artifact(file.key, path)
            else:
                store.publish(file.key, tar_contents.read(found, file))
            advance(1, "")

"""Write a drop folder, or its newest rounds, into a tar that another drop folder imports.

verify → leave out what does not verify and is nobody's need → write. The same folder gives the same bytes.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange import layout, tar
from fedcli.party import tar_contents
from fedcli.party.folder import Folder
from fedcli.party.history_reader import read_history, round_of
from fedcli.party.inspection import inspect_artifacts
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import Problem
    from fedcli.exchange.records import Record
    from fedcli.exchange.store import StoreOptions
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult(Result):
    """A tar that was written.

    Attributes:
        file: The tar.
        sha256: Its digest.
        size: Its bytes.
        since: First round in it.
        round: Newest round in it.
        records: Records in it.
        artifacts: Artifacts in it.
        left_out: What does not verify, and stays behind.
        verified: Whether the coordinator's key is one that was given or pinned.
    """

    file: str
    sha256: str
    size: int
    since: int
    round: int
    records: int
    artifacts: int
    left_out: tuple[Problem, ...]
    verified: bool


def export(
    target: Path,
    drop: str | None,
    root: Path,
    *,
    progress: Progress,
    since: int = 0,
    coordinator: str | None = None,
    options: StoreOptions | None = None,
) -> ExportResult:
    """Write a tar.

    Args:
        target: The tar.
        drop: The drop folder's address; None takes the workspace's, with its pinned key.
        root: The workspace.
        progress: Told of every file.
        since: The first round whose records and artifacts are in it; what belongs to no round always is.
        coordinator: Fingerprint of the coordinator's first key.
        options: How the given drop folder is reached.

    Raises:
        UsageError: There is no such round, or the tar's file holds something else.
        TrustError: What the coordinator has written, or an update that a round used, does not verify.
        StoreError: The drop folder cannot be read, or the tar cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="fedcli-export-") as scratch:
        store, pinned = tar_contents.open_drop(drop, options, root, coordinator)
        folder = Folder(store, coordinator=pinned, cache=Path(scratch) / "cache")
        history, reading = read_history(folder)
        tar_contents.require_chain(history, reading)
        if since > len(history.rounds):
            msg = f"--since {since}: expected at most {len(history.rounds)}, the round that is open"
            raise UsageError(msg)
        chosen = [found for found in reading.every if _is_since(found, since)]
        there = {item.key for found in chosen for item in found.artifacts} - reading.archived
        inspect_artifacts(reading, progress, {item.key for found in reading.every for item in found.artifacts} - there)
        tar_contents.require_chain(history, reading)
        faulty = {problem.key for problem in reading.problems}
        carried = [found for found in chosen if faulty.isdisjoint(item.key for item in found.artifacts)]
        files = [file for found in carried for file in tar_contents.files_of(found) if file.key not in reading.archived]
        written = tar.write(target, tar_contents.members(store, files, Path(scratch), progress))
        num_artifacts = sum(layout.is_artifact(file.key) for file in files)
        message = (
            f"{target}: {len(carried)} records and {num_artifacts} artifacts since round {since}, SHA-256 {written.sha256}; "
        )
        return ExportResult(
            status=Status.DONE,
            message=message + tar_contents.confirmation(folder.ledger),
            file=str(target),
            sha256=written.sha256,
            size=written.size,
            since=since,
            round=len(history.rounds) - 1,
            records=len(carried),
            artifacts=num_artifacts,
            left_out=tuple(reading.problems),
            verified=folder.ledger.pinned is not None,
        )


def _is_since(found: Verified[Record], since: int) -> bool:
    number = round_of(found.record)
    return number is None or number >= since

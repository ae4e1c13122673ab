"""Write a drop folder, or its newest rounds, into a tar that another drop folder imports.

verify → leave out what does not verify and nobody needs → write. The same folder gives the same bytes.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange import layout, tar
from fedcli.party.history.history_reader import read_history
from fedcli.party.history.inspection import confirmation, inspect_artifacts, require_chain
from fedcli.party.history.records_read import round_of
from fedcli.party.transfer.tar_members import files_of, tar_members
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History, Problem
    from fedcli.exchange.records import Record
    from fedcli.party.history.records_read import Reading
    from fedcli.party.source import Source
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What to export.

    Attributes:
        source: The drop folder.
        file: The tar to write.
        since: The first round whose records and artifacts are in it; what belongs to no round always is.
    """

    source: Source
    file: Path
    since: int = 0


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
        left_out: What does not verify, and is not in it.
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


def export(request: ExportRequest, environment: Environment) -> ExportResult:
    """Write a tar.

    Raises:
        UsageError: There is no such round, or the tar's file has other content.
        TrustError: What the coordinator has written, or an update that a round used, does not verify.
        StoreError: The drop folder cannot be read, or the tar cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="fedcli-export-") as scratch:
        folder = request.source.folder(Path(scratch) / "cache")
        history, reading = read_history(folder, applicants=True)
        require_chain(history, reading)
        _require_round(history, request.since)
        records = _sound_records(reading, request.since, environment.progress)
        require_chain(history, reading)
        files = [file for verified in records for file in files_of(verified) if file.key not in reading.archived]
        written = tar.write(request.file, tar_members(folder.store, files, Path(scratch), environment.progress))
        num_artifacts = sum(layout.is_artifact(file.key) for file in files)
        extent = f"{len(records)} records and {num_artifacts} artifacts since round {request.since}"
        return ExportResult(
            status=Status.DONE,
            message=f"{request.file}: {extent}, SHA-256 {written.sha256}; {confirmation(folder.ledger)}",
            file=str(request.file),
            sha256=written.sha256,
            size=written.size,
            since=request.since,
            round=len(history.rounds) - 1,
            records=len(records),
            artifacts=num_artifacts,
            left_out=tuple(reading.problems),
            verified=folder.ledger.pinned is not None,
        )


def _require_round(history: History, since: int) -> None:
    if since > len(history.rounds):
        msg = f"--since {since}: expected at most {len(history.rounds)}, the round that is open"
        raise UsageError(msg)


def _sound_records(reading: Reading, since: int, progress: Progress) -> list[Verified[Record]]:
    """Return the records since a round whose artifacts all hold; what does not hold is noted."""
    records = [verified for verified in reading.records if (number := round_of(verified.record)) is None or number >= since]
    wanted = {artifact.key for verified in records for artifact in verified.artifacts} - reading.archived
    inspect_artifacts(reading, progress, {item.key for verified in reading.records for item in verified.artifacts} - wanted)
    faulty = {problem.key for problem in reading.problems}
    return [verified for verified in records if faulty.isdisjoint(artifact.key for artifact in verified.artifacts)]

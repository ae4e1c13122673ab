"""Make room: move the artifacts of old rounds out of the drop folder into a tar; records and signatures stay.

verify → tar, flushed and read back → the coordinator's signed record of it → remove. From that record `verify` knows that these
artifacts are not lost, and from which round on everything can be recomputed without the tar. What running parties need stays: the
newest rounds, φ(0), the best model so far, and what the first round that stays begins from. A party removes what it may: the
coordinator everything that the store lets it remove, a site its own files. If it is interrupted, the next run goes on.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli import disk
from fedcli.errors import StoreError, UsageError
from fedcli.exchange import layout, tar
from fedcli.exchange.history.best_round import best_round
from fedcli.exchange.records import ArchiveRecord, archivable
from fedcli.party.history.history_reader import read_history
from fedcli.party.history.inspection import inspect_artifacts, require_chain
from fedcli.party.history.records_read import round_of
from fedcli.party.party import Party, publication
from fedcli.party.transfer.tar_members import file_of, private_copy, tar_members
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.exchange.history import History
    from fedcli.party.history.records_read import Reading
    from fedcli.party.transfer.tar_members import DropFile
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRequest:
    """What to move, and where to.

    Attributes:
        root: The workspace: the coordinator's, or, once the coordinator has archived, a site's.
        file: The tar; if it exists, an earlier run that was interrupted has written it.
        before: The first round that stays.
    """

    root: Path
    file: Path
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveResult(Result):
    """What was moved.

    Attributes:
        file: The tar; null if there was nothing to move.
        sha256: Its digest.
        before: The first round that can be recomputed without it.
        moved: Artifacts that are now only in the tar.
        left: Artifacts that this party may not remove, by their keys; they are in the tar and in the drop folder.
    """

    file: str | None
    sha256: str | None
    before: int
    moved: int
    left: tuple[str, ...]


def archive(request: ArchiveRequest, environment: Environment) -> ArchiveResult:
    """Move out the artifacts that no round from `before` on needs.

    Raises:
        UsageError: There is no such round, a site comes before the coordinator, or the tar has other content.
        TrustError: Something does not verify; nothing was removed.
        StoreError: The drop folder or the tar cannot be read or written.
    """
    with (
        Party.at_work(request.root, None, environment) as party,
        tempfile.TemporaryDirectory(prefix="fedcli-archive-") as scratch,
    ):
        history, reading = read_history(party.folder)
        require_chain(history, reading)
        archived = reading.archive.record.before if reading.archive is not None else 0
        _require_round(party, request.before, archived)
        files = _movable(party, history, reading, request.before)
        if not files:
            return _result(party, request, (), None, ())
        if not request.file.exists():
            tar.write(request.file, tar_members(party.store, files, Path(scratch), environment.progress))
        _read_back(request.file, files, Path(scratch), environment.progress)
        digest = disk.measure(request.file).sha256
        if archived < request.before:
            _publish(party, reading, request.before, digest)
        left = _remove(party, files)
        party.folder.artifacts.forget()
        return _result(party, request, files, digest, left)


def _require_round(party: Party, before: int, archived: int) -> None:
    newest = party.ledger.newest_round
    if not 1 <= before <= newest:
        msg = f"--before {before}: expected 1 to {newest}, the newest round"
        raise UsageError(msg)
    if party.name != layout.COORDINATOR and archived < before:
        msg = f"--before {before}: the coordinator has archived before round {archived}"
        raise UsageError(msg, hint="the coordinator's record says what may be missing; a site archives after it")


def _movable(party: Party, history: History, reading: Reading, before: int) -> tuple[DropFile, ...]:
    """Verify the artifacts that can be moved, and return those that hold, oldest round first."""
    present = reading.keys
    kept = history.rounds[best_round(history).round].artifact.key
    prefix = "" if party.name == layout.COORDINATOR else layout.prefix(party.name)
    named = [(round_of(verified.record), artifact) for verified in reading.records for artifact in verified.artifacts]
    movable = {
        artifact.key: (number, artifact)
        for number, artifact in named
        if number is not None
        and archivable(number, artifact.role, before)
        and artifact.key in present
        and artifact.key.startswith(prefix)
        and artifact.key != kept
    }
    inspect_artifacts(reading, party.environment.progress, {artifact.key for _, artifact in named} - movable.keys())
    require_chain(history, reading)
    for problem in reading.problems:
        movable.pop(problem.key, None)
    return tuple(file_of(artifact) for _, artifact in sorted(movable.values(), key=lambda item: (item[0], item[1].key)))


def _read_back(path: Path, files: tuple[DropFile, ...], scratch: Path, progress: Progress) -> None:
    """Read every artifact from the tar before it is removed from the drop folder."""
    written = tar.Tar(path)
    with progress.track("reading the tar back", len(files), "files") as advance:
        for file in files:
            if written.stat(file.key) is None:
                msg = f"{path}: exists already, without {file.key}"
                raise UsageError(msg, hint="name another file: this one may be the only copy of its content")
            with private_copy(written, file, scratch):
                advance(1, "")


def _publish(party: Party, reading: Reading, before: int, digest: str) -> None:
    record = ArchiveRecord(
        federation=party.ledger.identity,
        party=layout.COORDINATOR,
        created=party.environment.clock(),
        versions=party.versions(),
        number=reading.archive.record.number + 1 if reading.archive is not None else 1,
        as_of=party.ledger.newest_round,
        before=before,
        tar=digest,
    )
    party.commit(party.outbox.draft(f"archive-{record.number:04d}"), publication(layout.archive(record.number), record))


def _remove(party: Party, files: tuple[DropFile, ...]) -> tuple[str, ...]:
    """Remove what is in the tar now; return the keys that the store does not let this party remove."""
    left: list[str] = []
    with party.environment.progress.track("removing", len(files), "files") as advance:
        for file in files:
            try:
                party.store.remove_artifact(file.key)
            except StoreError as error:
                party.environment.progress.event(f"not removed: {error}")
                left.append(file.key)
            advance(1, "")
    return tuple(left)


def _result(
    party: Party, request: ArchiveRequest, files: tuple[DropFile, ...], digest: str | None, left: tuple[str, ...]
) -> ArchiveResult:
    moved, before = len(files) - len(left), request.before
    if digest is None:
        message = f"{party.store.address}: there is nothing to move before round {before}"
    else:
        message = f"{moved} artifacts moved to {request.file}, SHA-256 {digest}; replayable from round {before} without it"
    if left:
        owners = ", ".join(sorted({key.rpartition("/")[0].rpartition("/")[0] for key in left}))
        command = f"fedcli archive TAR -C WORKSPACE --before {before}"
        message += f"; {len(left)} stay in {owners}, whose owners can remove them: `{command}`"
    return ArchiveResult(
        status=Status.PUBLISHED if moved else Status.DONE,
        message=message,
        file=str(request.file) if digest is not None else None,
        sha256=digest,
        before=before,
        moved=moved,
        left=left,
    )

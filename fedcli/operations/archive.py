"""Make room: move the artifacts of old rounds out of the drop folder into a tar; records and signatures stay.

verify → tar, flushed and read back → the coordinator's signed record of it → remove. From that record on `verify` knows that
these artifacts are not lost, and from which round on everything can be recomputed without the tar. What running parties need
stays: the newest rounds, φ(0), the best model so far, and what the first round that stays begins from. A party removes what it
may: the coordinator everything that the store lets it, a site what is its own. Cut off anywhere and run again, it goes on.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli import tensors
from fedcli.errors import StoreError, UsageError
from fedcli.exchange import layout, tar
from fedcli.exchange.records import ArchiveRecord, archivable
from fedcli.party import tar_contents
from fedcli.party.history_reader import read_history, round_of
from fedcli.party.inspection import inspect_artifacts
from fedcli.party.party import Party, publication
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.exchange.history import History
    from fedcli.party.history_reader import Reading
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveResult(Result):
    """What was moved.

    Attributes:
        file: The tar; null where there was nothing to move.
        sha256: Its digest.
        before: The first round that can be recomputed without it.
        moved: Artifacts that are now in the tar alone.
        left: Artifacts that this party may not remove, by their keys; they are in the tar and in the drop folder.
    """

    file: str | None
    sha256: str | None
    before: int
    moved: int
    left: tuple[str, ...]


def archive(root: Path, target: Path, before: int, environment: Environment) -> ArchiveResult:
    """Move out the artifacts that no round from `before` on needs.

    Args:
        root: The workspace: the coordinator's, or, once the coordinator has archived, a site's.
        target: The tar; where it exists, a run that was cut off has written it.
        before: The first round that stays.
        environment: Clock, progress, passphrase.

    Raises:
        UsageError: There is no such round, a site comes before the coordinator, or the tar holds something else.
        TrustError: Something does not verify; nothing was removed.
        StoreError: The drop folder or the tar cannot be read or written.
    """
    with Party.at_work(root, None, environment) as party, tempfile.TemporaryDirectory(prefix="fedcli-archive-") as scratch:
        history, reading = read_history(party.folder)
        tar_contents.require_chain(history, reading)
        archived = reading.archive.record.before if reading.archive is not None else 0
        _require_round(party, before, archived)
        files = _movable(party, history, reading, before)
        if not files:
            return _result(party, before, (), None, target, ())
        if not target.exists():
            tar.write(target, tar_contents.members(party.store, files, Path(scratch), environment.progress))
        _read_back(target, files, Path(scratch), environment.progress)
        digest = tensors.measure(target).sha256
        if archived < before:
            _publish(party, reading, before, digest)
        left = _remove(party, files)
        party.folder.artifacts.forget()
        return _result(party, before, files, digest, target, left)


def _require_round(party: Party, before: int, archived: int) -> None:
    newest = party.ledger.newest_round
    if not 1 <= before <= newest:
        msg = f"--before {before}: expected 1 to {newest}, the newest round"
        raise UsageError(msg)
    if party.name != layout.COORDINATOR and archived < before:
        msg = f"--before {before}: the coordinator has archived before round {archived}"
        raise UsageError(msg, hint="the coordinator's record says what may be missing; a site archives after it")


def _movable(party: Party, history: History, reading: Reading, before: int) -> tuple[tar_contents.File, ...]:
    """Return the artifacts that can go, oldest round first, once they are verified; what does not verify stays where it is."""
    kept = history.rounds[history.best_round()].artifact.key
    prefix = "" if party.name == layout.COORDINATOR else layout.prefix(party.name)
    named = [(round_of(found.record), artifact) for found in reading.every for artifact in found.artifacts]
    there = {
        artifact.key: (number, artifact)
        for number, artifact in named
        if number is not None
        and archivable(number, artifact.role, before)
        and artifact.key in reading.keys
        and artifact.key.startswith(prefix)
        and artifact.key != kept
    }
    inspect_artifacts(reading, party.environment.progress, {artifact.key for _, artifact in named} - there.keys())
    tar_contents.require_chain(history, reading)
    for problem in reading.problems:
        there.pop(problem.key, None)
    return tuple(
        tar_contents.file_of(artifact) for _, artifact in sorted(there.values(), key=lambda item: (item[0], item[1].key))
    )


def _read_back(target: Path, files: tuple[tar_contents.File, ...], scratch: Path, progress: Progress) -> None:
    """Read every artifact from the tar before the drop folder loses it."""
    found = tar.Tar(target)
    with progress.track("reading the tar back", len(files), "files") as advance:
        for file in files:
            if found.stat(file.key) is None:
                msg = f"{target}: is there already, without {file.key}"
                raise UsageError(msg, hint="name another file: this one may be the only copy of what it holds")
            with tar_contents.private_copy(found, file, scratch):
                advance(1, "")


def _publish(party: Party, reading: Reading, before: int, digest: str) -> None:
    ledger = party.ledger
    record = ArchiveRecord(
        federation=ledger.identity,
        party=layout.COORDINATOR,
        created=party.environment.clock(),
        versions=party.versions(),
        number=reading.archive.record.number + 1 if reading.archive is not None else 1,
        as_of=ledger.newest_round,
        before=before,
        tar=digest,
    )
    party.commit(party.outbox.draft(f"archive-{record.number:04d}"), publication(layout.archive(record.number), record))


def _remove(party: Party, files: tuple[tar_contents.File, ...]) -> tuple[str, ...]:
    """Remove what lies in the tar now; return what the store does not let this party remove."""
    left: list[str] = []
    with party.environment.progress.track("removing", len(files), "files") as advance:
        for file in files:
            try:
                party.store.remove_artifact(file.key)
            except StoreError as error:
                party.environment.progress.event(f"left: {error}")
                left.append(file.key)
            advance(1, "")
    return tuple(left)


def _result(
    party: Party, before: int, files: tuple[tar_contents.File, ...], digest: str | None, target: Path, left: tuple[str, ...]
) -> ArchiveResult:
    moved = len(files) - len(left)
    if digest is None:
        message = f"{party.store.address}: nothing is there to be moved before round {before}"
    else:
        message = f"{moved} artifacts moved to {target}, SHA-256 {digest}; replayable from round {before} without it"
    if left:
        owners = ", ".join(sorted({key.rpartition("/")[0].rpartition("/")[0] for key in left}))
        message += f"; {len(left)} stay in {owners}, whose owners remove them by fedcli archive --before {before}"
    return ArchiveResult(
        status=Status.PUBLISHED if moved else Status.DONE,
        message=message,
        file=str(target) if digest is not None else None,
        sha256=digest,
        before=before,
        moved=moved,
        left=left,
    )

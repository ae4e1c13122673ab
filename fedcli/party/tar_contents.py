"""What travels in a tar: verified records, their signatures and artifacts, each as the file that it is."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.history import Problem
from fedcli.exchange.records import MAX_RECORD_BYTES, EnrolmentRecord
from fedcli.exchange.signatures import MAX_SIGNATURE_BYTES
from fedcli.exchange.store import open_store
from fedcli.party.party import store_of
from fedcli.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.records import Artifact, Record
    from fedcli.exchange.store import ReadableStore, Store, StoreOptions
    from fedcli.party.history_reader import Reading
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a drop folder.

    Attributes:
        key: Its key.
        limit: Bytes that it has at most.
        sha256: Its digest; None for a signature, which its record's digest and the signer's key decide.
    """

    key: str
    limit: int
    sha256: str | None


def open_drop(drop: str | None, options: StoreOptions | None, root: Path, coordinator: str | None) -> tuple[Store, str | None]:
    """Return the given drop folder's store, or the workspace's if none is given, and the coordinator's pinned fingerprint."""
    if drop is not None:
        return open_store(drop, options), coordinator
    workspace = Workspace.open(root)
    return store_of(workspace), coordinator or workspace.settings.coordinator


def file_of(artifact: Artifact) -> File:
    """Return an artifact's file."""
    return File(key=artifact.key, limit=artifact.stored_size, sha256=artifact.stored_sha256)


def files_of(found: Verified[Record]) -> tuple[File, ...]:
    """Return a record's files in the order of publishing: artifacts, signatures, the record."""
    files = [file_of(artifact) for artifact in found.artifacts]
    names = [layout.signature(found.key, found.digest)]
    if isinstance(found.record, EnrolmentRecord) and found.record.number:
        names.append(layout.countersignature(found.key, found.digest))
    files += [File(key=name, limit=MAX_SIGNATURE_BYTES, sha256=None) for name in names]
    return (*files, File(key=found.key, limit=MAX_RECORD_BYTES, sha256=found.digest))


def read(store: ReadableStore, file: File) -> bytes:
    """Return a small file's bytes.

    Raises:
        TrustError: They are no longer those that were verified.
    """
    data = store.read(file.key, file.limit)
    _compare(store, file, wire.sha256(data))
    return data


@contextmanager
def private_copy(store: ReadableStore, file: File, scratch: Path) -> Iterator[Path]:
    """Return a private copy of an artifact, which goes afterwards.

    Raises:
        TrustError: It is not what its record says.
    """
    path = scratch / secrets.token_hex(8)
    try:
        _compare(store, file, store.fetch(file.key, path, file.limit).sha256)
        yield path
    finally:
        path.unlink(missing_ok=True)


def members(store: ReadableStore, files: Iterable[File], scratch: Path, progress: Progress) -> Iterator[tuple[str, bytes | Path]]:
    """Yield files as the members of a tar, in its order; a copy lasts until the next one is asked for."""
    ordered = sorted(files, key=lambda file: file.key)
    with progress.track("writing the tar", len(ordered), "files") as advance:
        for file in ordered:
            if layout.is_artifact(file.key):
                with private_copy(store, file, scratch) as path:
                    yield file.key, path
            else:
                yield file.key, read(store, file)
            advance(1, "")


def faults_of_chain(history: History, reading: Reading) -> list[Problem]:
    """Return what does not hold in the chain: the coordinator's own files, and the updates that its rounds used.

    What else a site sent is that site's affair.
    """
    used = {layout.update(item.site, found.record.round) for found in history.rounds for item in found.record.contributions}
    vital = used | {item.key for found in reading.every if found.key in used for item in found.artifacts}
    faults = [item for item in reading.problems if item.key in vital or item.key.startswith(layout.COORDINATOR)]
    if not history.rounds and not faults:
        message = f"{reading.folder.store.address}: holds no federation"
        faults.append(Problem(key=layout.federation(0), message=message))
    return faults


def require_chain(history: History, reading: Reading) -> None:
    """Raise a TrustError where something in the chain does not hold."""
    if faults := faults_of_chain(history, reading):
        more = f", and {len(faults) - 1} more problems" if len(faults) > 1 else ""
        raise TrustError(faults[0].message + more, hint="fedcli verify shows everything that does not hold")


def confirmation(ledger: Ledger) -> str:
    """Return in words against which key everything holds."""
    fingerprint = ledger.first_key.fingerprint
    if ledger.pinned is not None:
        return f"verified against the coordinator's key {fingerprint}"
    return f"consistent; coordinator {fingerprint} not confirmed"


def _compare(store: ReadableStore, file: File, sha256: str) -> None:
    if file.sha256 not in {None, sha256}:
        msg = f"{file.key}: SHA-256 {sha256[:12]} in {store.address}, expected {str(file.sha256)[:12]}"
        raise TrustError(msg, hint="the file was changed while it was read; run the same command again")

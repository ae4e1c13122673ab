"""The members of a tar: verified records, their signatures and artifacts, each as a file of a drop folder."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.records import MAX_RECORD_BYTES, EnrolmentRecord
from fedcli.exchange.signatures import MAX_SIGNATURE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import Artifact, Record
    from fedcli.exchange.store import ReadableStore
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class DropFile:
    """A file of a drop folder.

    Attributes:
        key: Its key.
        limit: Bytes that it has at most.
        sha256: Its digest; None for a signature, which its record's digest and the signer's key decide.
    """

    key: str
    limit: int
    sha256: str | None


def file_of(artifact: Artifact) -> DropFile:
    """Return an artifact's file."""
    return DropFile(key=artifact.key, limit=artifact.stored_size, sha256=artifact.stored_sha256)


def files_of(verified: Verified[Record]) -> tuple[DropFile, ...]:
    """Return a record's files in the order of publishing: artifacts, signatures, the record."""
    files = [file_of(artifact) for artifact in verified.artifacts]
    names = [layout.signature(verified.key, verified.digest)]
    if isinstance(verified.record, EnrolmentRecord) and verified.record.number:
        names.append(layout.countersignature(verified.key, verified.digest))
    files += [DropFile(key=name, limit=MAX_SIGNATURE_BYTES, sha256=None) for name in names]
    return (*files, DropFile(key=verified.key, limit=MAX_RECORD_BYTES, sha256=verified.digest))


def read_verified(store: ReadableStore, file: DropFile) -> bytes:
    """Return a small file's bytes.

    Raises:
        TrustError: They are no longer those that were verified.
    """
    data = store.read(file.key, file.limit)
    _compare(store, file, wire.sha256(data))
    return data


@contextmanager
def private_copy(store: ReadableStore, file: DropFile, scratch: Path) -> Iterator[Path]:
    """Yield a private copy of an artifact, which is removed afterwards.

    Raises:
        TrustError: It is not what its record says.
    """
    path = scratch / secrets.token_hex(8)
    try:
        _compare(store, file, store.fetch(file.key, path, file.limit).sha256)
        yield path
    finally:
        path.unlink(missing_ok=True)


def tar_members(
    store: ReadableStore, files: Iterable[DropFile], scratch: Path, progress: Progress
) -> Iterator[tuple[str, bytes | Path]]:
    """Yield files as the members of a tar, in its order; each private copy is removed when the next member is requested."""
    ordered = sorted(files, key=lambda file: file.key)
    with progress.track("writing the tar", len(ordered), "files") as advance:
        for file in ordered:
            if layout.is_artifact(file.key):
                with private_copy(store, file, scratch) as path:
                    yield file.key, path
            else:
                yield file.key, read_verified(store, file)
            advance(1, "")


def _compare(store: ReadableStore, file: DropFile, sha256: str) -> None:
    if file.sha256 not in {None, sha256}:
        msg = f"{file.key}: SHA-256 {sha256[:12]} in {store.address}, expected {str(file.sha256)[:12]}"
        raise TrustError(msg, hint="the file was changed while it was read; run the same command again")

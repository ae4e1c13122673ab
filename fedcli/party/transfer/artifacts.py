"""Artifacts received: private copies of the drop folder's files, checked, unsealed, unpacked and decoded."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from fedcli import disk, encodings, tensors, wire
from fedcli.errors import MissingError, SealedError, TooLongError, TrustError, UnreadableError
from fedcli.exchange import checks
from fedcli.party.transfer.opening import place_of
from fedcli.plan import Encoding, Packing
from fedcli.privacy import sealing
from fedcli.privacy.sealing import SealError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import Artifact, Record, UpdateRecord
    from fedcli.exchange.store import ReadableStore
    from fedcli.party.transfer.opening import Opening
    from fedcli.tensors import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaFile:
    """The delta of an update as a file of float32 in the layout of the global model.

    Attributes:
        path: The file in the drop folder itself, or a private copy.
        sha256: The digest that a reader of the drop folder's file must check; None for a private copy, which was checked.
    """

    path: Path
    sha256: str | None


class Artifacts:
    """Private copies of a drop folder's artifacts, each under the digest of all that its record says of it.

    A copy of one artifact never stands for another that names the same content: what is stored there may be something else.

    Args:
        store: Where the artifacts lie.
        cache: A private folder.
        opening: What the reader can open; None opens nothing that is sealed.
    """

    def __init__(self, store: ReadableStore, cache: Path, opening: Opening | None = None) -> None:
        self._store = store
        self._cache = cache
        self._opening = opening

    def fetch(self, owner: Verified[Record], artifact: Artifact, expected: Layout | None = None) -> Path:
        """Return a private copy of an artifact's content: hashed while it is copied, unpacked, its header checked.

        Args:
            owner: The record that names it.
            artifact: What the record says.
            expected: The layout of the federation's models, from which that of an encoded update follows; None checks no layout.

        Raises:
            SealedError: It is sealed to others.
            TrustError: Size, digest or layout are not what the record says.
            StoreError: The drop folder cannot be read.
        """
        path = self._cache / f"{wire.digest(artifact)}.safetensors"
        if not path.exists():
            self._check_size(owner, artifact)
            with self._new_file() as copy, self._new_file() as unpacked:
                content = copy
                if artifact.encryption is not None:
                    _, measured = self._unsealed(owner, artifact, copy)
                else:
                    measured = self._fetched(artifact, copy)
                    checks.check_copy(owner.key, artifact, measured)
                if artifact.packing is not Packing.NONE:
                    content = unpacked
                    from fedcli import packing  # noqa: PLC0415 - the compressor, where there is something to unpack

                    measured = packing.unpack(copy, content, artifact.content_size)
                with content.open("rb") as file:
                    _check_content(owner.key, artifact, file, measured, expected)
                disk.sync(content)  # before it has its name: after a power failure a copy is whole, or not there
                content.rename(path)
        elif expected is not None:
            with path.open("rb") as file:
                checks.check_layout(artifact, tensors.read_layout(file), expected)
        return path

    def delta(self, update: Verified[UpdateRecord], expected: Layout) -> DeltaFile:
        """Return the file of an update's delta, decoded; nothing is copied where it lies plain on this machine.

        Args:
            update: The update.
            expected: The layout of the federation's models.

        Raises:
            TrustError: Size, digest or layout are not what the record says; of a file in the drop folder itself only the size is
                checked.
            StoreError: The drop folder cannot be read.
        """
        artifact = update.artifact
        plain = (artifact.encoding, artifact.packing, artifact.encryption) == (Encoding.FLOAT32, Packing.NONE, None)
        if plain and (path := self._store.local_path(artifact.key)) is not None:
            self._check_size(update, artifact)
            return DeltaFile(path=path, sha256=artifact.stored_sha256)
        content = self.fetch(update, artifact, expected)
        if artifact.encoding is Encoding.FLOAT32:
            return DeltaFile(path=content, sha256=None)
        path = content.with_suffix(".decoded")
        if not path.exists():
            with self._new_file() as decoded:
                encodings.decode(content, decoded, expected, artifact.encoding)
                disk.sync(decoded)
                decoded.rename(path)
        return DeltaFile(path=path, sha256=None)

    def check(self, owner: Verified[Record], artifact: Artifact, expected: Layout | None = None) -> None:
        """Check an artifact's size, digest and header, as `fetch` does; no copy stays, nor is one made of a plain file here.

        Raises:
            TrustError: Size, digest or layout are not what the record says.
        """
        plain = artifact.packing is Packing.NONE and artifact.encryption is None
        if plain and (path := self._store.local_path(artifact.key)) is not None:
            self._check_size(owner, artifact)
            try:
                with disk.open_regular(path) as file:
                    measured = disk.measure_open(file)
                    checks.check_copy(owner.key, artifact, measured)
                    _check_content(owner.key, artifact, file, measured, expected)
            except OSError as error:
                msg = f"{artifact.key}: {error.strerror}, in the drop folder {self._store.address}"
                raise UnreadableError(msg) from error
        else:
            self.fetch(owner, artifact, expected).unlink()

    def check_stored(self, owner: Verified[Record], artifact: Artifact) -> None:
        """Check the size and digest of what is stored, which anybody can also of a sealed file; no copy stays.

        Raises:
            TrustError: They are not what the record says.
        """
        self._check_size(owner, artifact)
        with self._stored(owner, artifact) as file:
            checks.check_copy(owner.key, artifact, disk.measure_open(file))

    def forget(self, *keep: Path) -> None:
        """Remove all copies except the given files."""
        for path in self._cache.glob("*") if self._cache.is_dir() else ():
            if path not in keep:
                path.unlink(missing_ok=True)

    def content_key(self, owner: Verified[Record], artifact: Artifact) -> bytes:
        """Return the key of a sealed file, after it has opened the file; no copy stays.

        Raises:
            SealedError: It is sealed to others.
            TrustError: The file is not what its record says.
        """
        with self._new_file() as target:
            return self._unsealed(owner, artifact, target)[0]

    def _unsealed(self, owner: Verified[Record], artifact: Artifact, target: Path) -> tuple[bytes, Measured]:
        """Write what is inside a sealed file to a new file, reading the sealed file once; return its key, and what came out."""
        if self._opening is None:
            msg = f"{artifact.key}: sealed, and there is no key to open it with"
            raise SealedError(msg, hint="-C WORKSPACE without an address, or --identity KEY where the command has it, gives one")
        for key in self._opening.content_keys(owner, artifact):
            with self._stored(owner, artifact) as file:
                try:
                    stored, inside = sealing.unseal(file, target, key.key, place_of(owner, artifact), artifact.stored_size)
                except SealError as error:
                    target.unlink(missing_ok=True)
                    file.seek(0)
                    checks.check_copy(owner.key, artifact, disk.measure_open(file))  # it may have been changed in the drop folder
                    if key.granted:
                        continue
                    msg = f"{artifact.key}: {error}, though the file is what {owner.record.party} has signed"
                    raise TrustError(msg) from error
                if file.read(1):
                    stored = replace(stored, size=stored.size + 1)
            checks.check_copy(owner.key, artifact, stored)
            return key.key, inside
        raise AssertionError  # `content_keys` has raised an error

    @contextmanager
    def _stored(self, owner: Verified[Record], artifact: Artifact) -> Iterator[BufferedReader]:
        """Open a stored file: in the drop folder itself where that is on this machine, otherwise a private copy."""
        path = self._store.local_path(artifact.key)
        if path is None:
            with self._new_file() as copy:
                checks.check_copy(owner.key, artifact, self._fetched(artifact, copy))
                with copy.open("rb") as file:
                    yield file
            return
        try:
            with disk.open_regular(path) as file:
                yield file
        except OSError as error:
            msg = f"{artifact.key}: {error.strerror}, in the drop folder {self._store.address}"
            raise UnreadableError(msg) from error

    def _fetched(self, artifact: Artifact, target: Path) -> Measured:
        """Copy an artifact; that its file has vanished or grown meanwhile is its owner's fault."""
        try:
            return self._store.fetch(artifact.key, target, artifact.stored_size)
        except (MissingError, TooLongError) as error:
            raise TrustError(str(error)) from error

    @contextmanager
    def _new_file(self) -> Iterator[Path]:
        """Yield the path of a new file; if it is still there afterwards, it is removed."""
        self._cache.mkdir(parents=True, exist_ok=True)
        path = self._cache / f".{secrets.token_hex(8)}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _check_size(self, owner: Verified[Record], artifact: Artifact) -> None:
        size = self._store.stat(artifact.key)
        if size != artifact.stored_size:
            msg = f"{artifact.key}: {size} bytes" if size is not None else f"{artifact.key}: missing"
            msg += f", expected {artifact.stored_size} bytes, named by {owner.key}"
            raise TrustError(msg)


def _check_content(key: str, artifact: Artifact, file: BinaryIO, measured: Measured, expected: Layout | None) -> None:
    try:
        file.seek(0)
        layout = tensors.read_layout(file)
    except tensors.TensorError as error:
        msg = f"{artifact.key}: {error}"
        raise TrustError(msg) from error
    checks.check_artifact(key, artifact, measured, layout, expected)

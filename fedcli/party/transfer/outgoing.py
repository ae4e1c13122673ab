"""Artifacts on their way out: a file becomes an artifact of a record that is about to be published.

tensors → encoded → packed → sealed → outbox → drop folder
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli import encodings, tensors
from fedcli.exchange import layout
from fedcli.exchange.recipients import Reader, readers
from fedcli.exchange.records import Artifact, Encryption, Recipient
from fedcli.plan import Encoding, Packing, Updates
from fedcli.privacy import sealing
from fedcli.privacy.encryption_keys import EncryptionKey
from fedcli.privacy.sealing import Place

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.exchange.records import FederationRecord, Role
    from fedcli.tensors import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A delta that is ready to be published.

    Attributes:
        path: The file to store.
        stored: Its size and digest.
        content: Those of the encoded file inside.
        delta: The delta as others decode it, which for a lossy encoding differs from the original.
    """

    path: Path
    stored: Measured
    content: Measured
    delta: Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFile:
    """A file that is to become an artifact.

    Attributes:
        role: What it is to its record.
        path: The file, encoded and packed.
        content: Size and digest of the canonical safetensors file inside.
        stored: Those of the packed file; None where it is not packed.
        travel: How it was encoded and packed; None as it is.
    """

    role: Role
    path: Path
    content: Measured
    stored: Measured | None = None
    travel: Updates | None = None


def artifact_of(
    file: ArtifactFile, record_key: str, federation: FederationRecord, identity: str, author: str
) -> tuple[Artifact, Path]:
    """Return how a record names a file, and the file to store: sealed where the plan seals, and then `file.path` is gone.

    Args:
        file: The file.
        record_key: The record's key.
        federation: The federation record under which it is published, which says who can open it.
        identity: SHA-256 of the federation's first record.
        author: The party that publishes it.
    """
    stored, path, encryption = file.stored or file.content, file.path, None
    if federation.plan.confidentiality.sealing:
        place = Place(federation=identity, record=record_key, role=file.role.value, content=file.content.sha256)
        key = sealing.new_key()
        path = file.path.with_name(f"{file.path.name}.sealed")
        stored = sealing.seal(file.path, path, key, place)
        file.path.unlink()
        encryption = Encryption(recipients=wrapped_for(readers(federation, file.role, author), key, place))
    return describe(record_key, file.role, file.content, stored=stored, travel=file.travel, encryption=encryption), path


def describe(
    record_key: str,
    role: Role,
    content: Measured,
    *,
    stored: Measured | None = None,
    travel: Updates | None = None,
    encryption: Encryption | None = None,
) -> Artifact:
    """Return how a record names a file that is ready to be stored.

    Args:
        record_key: The record's key.
        role: What the file is to it.
        content: Size and digest of the canonical safetensors file inside.
        stored: Those of the file as it is stored; None where it is neither packed nor sealed.
        travel: How it was encoded and packed; None as it is.
        encryption: How it was sealed; None where it was not.
    """
    stored, travel = stored or content, travel or Updates()
    return Artifact(
        role=role,
        key=layout.artifact(record_key, stored.sha256),
        stored_size=stored.size,
        stored_sha256=stored.sha256,
        content_size=content.size,
        content_sha256=content.sha256,
        encoding=travel.encoding,
        packing=travel.packing,
        encryption=encryption,
    )


def wrapped_for(items: Iterable[Reader], key: bytes, place: Place) -> tuple[Recipient, ...]:
    """Return a content key wrapped for each reader."""
    return tuple(Recipient(party=item.party, key=item.digest, wrapped=box(item.key, key, place)) for item in items)


def box(line: str, key: bytes, place: Place) -> str:
    """Return a content key wrapped for one encryption key, as records hold it."""
    return base64.b64encode(sealing.wrap(key, EncryptionKey.parse(line), place)).decode()


def prepare_update(folder: Path, delta: Arrays, travel: Updates) -> Outgoing:
    """Encode and pack a delta as the plan says; the file is made in `folder`."""
    path = folder / "update"
    content = tensors.write(path, delta)
    if travel.encoding is not Encoding.FLOAT32:
        plain, path = path, folder / "update.encoded"
        content = encodings.encode(plain, path, travel.encoding)
        plain.unlink()
        encodings.decode(path, plain, tensors.layout_of(delta), travel.encoding)
        delta = tensors.read(plain)
        plain.unlink()
    stored = content
    if travel.packing is not Packing.NONE:
        unpacked, path = path, folder / "update.packed"
        from fedcli import packing  # noqa: PLC0415 - the compressor, where there is something to pack

        stored = packing.pack(unpacked, path)
        unpacked.unlink()
    return Outgoing(path=path, stored=stored, content=content, delta=delta)

"""Sealed files: the content encrypted in chunks with a key of its own, which HPKE wraps for each recipient.

A file of n bytes is encrypted as max(1, ceil(n / 2^20)) chunks of 2^20 bytes, the last one shorter. Chunk i is AES-256-GCM with

    nonce             11 bytes, i from 0, big-endian; then one byte, 1 for the last chunk and 0 for the others
    additional data   the JSON of [scheme, record key, SHA-256 of the content]

and takes 16 bytes more than its content. So chunks cannot be exchanged, repeated, or cut off at the end (STREAM, Hoang et al.
2015), and no chunk can be moved to another record. The content key is random for each file; for a recipient it is

    HPKE base mode (RFC 9180), MLKEM768-X25519, HKDF-SHA256, AES-256-GCM
    info              the JSON of [scheme, federation, record key, role, SHA-256 of the content]

JSON here is UTF-8 without spaces between its parts.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedcli import disk
from fedcli.disk import Measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from fedcli.privacy.encryption_keys import DecryptionKey, EncryptionKey

SCHEME = "fedcli-seal@1"
CHUNK = 1 << 20
WRAPPED_BYTES = 1088 + 32 + 32 + 16
"""Of a wrapped content key: the encapsulations of ML-KEM-768 and X25519, the key, the tag."""
_KEY_BYTES = 32
_TAG_BYTES = 16


class SealError(Exception):
    """A sealed file, or a wrapped key, that does not open: it was changed, or is not what its record says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a sealed file is bound to: it opens in no other place.

    Attributes:
        federation: SHA-256 of the federation's first record.
        record: The key of the record that names the file.
        role: What the file is to it.
        content: SHA-256 of the content: unsealed and unpacked.
    """

    federation: str
    record: str
    role: str
    content: str

    @property
    def info(self) -> bytes:
        """What HPKE binds a wrapped key to."""
        return _json(SCHEME, self.federation, self.record, self.role, self.content)

    @property
    def additional(self) -> bytes:
        """What AES-GCM binds every chunk to."""
        return _json(SCHEME, self.record, self.content)


def new_key() -> bytes:
    """Return a random content key."""
    return secrets.token_bytes(_KEY_BYTES)


def sealed_size(size: int) -> int:
    """Return the size of a sealed file with `size` bytes inside."""
    return size + _TAG_BYTES * _num_chunks(size)


def wrap(key: bytes, recipient: EncryptionKey, place: Place) -> bytes:
    """Return the content key as only the recipient can open it."""
    return recipient.encrypt(key, place.info)


def unwrap(box: bytes, private: DecryptionKey, place: Place) -> bytes:
    """Return the content key from a recipient's box.

    Raises:
        SealError: The box does not open with this key in this place.
    """
    try:
        key = private.decrypt(box, place.info)
    except (InvalidTag, ValueError) as error:
        msg = f"the content key wrapped for {private.public.digest[:12]} does not open"
        raise SealError(msg) from error
    if len(key) != _KEY_BYTES:
        msg = f"the content key wrapped for {private.public.digest[:12]} has {len(key)} bytes, expected {_KEY_BYTES}"
        raise SealError(msg)
    return key


def seal(source: Path, target: Path, key: bytes, place: Place) -> Measured:
    """Write a file, sealed, to a new file; return the sealed file's size and digest."""
    with source.open("rb") as file:
        return disk.write_blocks(target, _sealed(file, source.stat().st_size, key, place))


def unseal(source: BinaryIO, target: Path, key: bytes, place: Place, size: int) -> tuple[Measured, Measured]:
    """Write the content of a sealed file to a new file; return size and digest of the sealed bytes and of those inside.

    A thread of its own hashes the sealed bytes, while the others are decrypted and hashed.

    Args:
        source: The sealed file, open at its beginning, which is read once.
        target: The new file, which never becomes longer than what was sealed.
        key: The content key.
        place: What the file is bound to.
        size: The size of the sealed file.

    Raises:
        SealError: A chunk was changed, moved or cut off.
    """
    hasher = hashlib.sha256()
    with ThreadPoolExecutor(1) as pool:
        content = disk.write_blocks(target, _unsealed(source, size, key, place, lambda chunk: pool.submit(hasher.update, chunk)))
    return Measured(size=size, sha256=hasher.hexdigest()), content


def _sealed(file: BinaryIO, size: int, key: bytes, place: Place) -> Iterator[bytes]:
    cipher, additional, last = AESGCM(key), place.additional, _num_chunks(size) - 1
    for number in range(last + 1):
        yield cipher.encrypt(_nonce(number, last), file.read(CHUNK), additional)


def _unsealed(file: BinaryIO, size: int, key: bytes, place: Place, hashed: Callable[[bytes], Future[None]]) -> Iterator[bytes]:
    cipher, additional = AESGCM(key), place.additional
    last = max(0, -(-size // (CHUNK + _TAG_BYTES)) - 1)
    for number in range(last + 1):
        chunk = file.read(min(CHUNK + _TAG_BYTES, size - number * (CHUNK + _TAG_BYTES)))
        done = hashed(chunk)
        try:
            content = cipher.decrypt(_nonce(number, last), chunk, additional)
        except (InvalidTag, ValueError) as error:
            msg = f"chunk {number + 1} of {last + 1} does not open"
            raise SealError(msg) from error
        yield content
        done.result()


def _num_chunks(size: int) -> int:
    return max(1, -(-size // CHUNK))


def _nonce(number: int, last: int) -> bytes:
    return number.to_bytes(11, "big") + bytes([number == last])


def _json(*parts: str) -> bytes:
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()

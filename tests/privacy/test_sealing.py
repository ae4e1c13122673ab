"""Sealed files: what opens, and what no longer does after any change."""

from __future__ import annotations

import base64
import json
import secrets
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedcli.privacy import sealing
from fedcli.privacy.encryption_keys import DecryptionKey
from fedcli.privacy.sealing import CHUNK, Place, SealError

PLACE = Place(federation="f" * 64, record="sites/north/round-0001/update.json", role="update", content="c" * 64)
SEALED_CHUNK = CHUNK + 16
VECTORS = json.loads((Path(__file__).parents[1] / "golden" / "sealing.json").read_text())


def sealed(folder: Path, size: int, key: bytes, place: Place = PLACE) -> tuple[bytes, bytes]:
    """Return random content, and what it is sealed."""
    source, target = folder / f"content-{secrets.token_hex(4)}", folder / f"sealed-{secrets.token_hex(4)}"
    source.write_bytes(secrets.token_bytes(size))
    measured = sealing.seal(source, target, key, place)
    assert (measured.size, measured.sha256) == (sealing.sealed_size(size), sha256(target.read_bytes()).hexdigest())
    return source.read_bytes(), target.read_bytes()


def opened(folder: Path, data: bytes, key: bytes, place: Place = PLACE) -> bytes:
    """Return what is inside; the digests that come with it are those of both files."""
    source, target = folder / "sealed", folder / f"opened-{secrets.token_hex(4)}"
    source.write_bytes(data)
    with source.open("rb") as file:
        stored, inside = sealing.unseal(file, target, key, place, len(data))
    assert (stored.sha256, inside.sha256) == (sha256(data).hexdigest(), sha256(target.read_bytes()).hexdigest())
    return target.read_bytes()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5])
def test_what_is_sealed_opens_again(tmp_path: Path, size: int) -> None:
    key = sealing.new_key()
    content, data = sealed(tmp_path, size, key)
    assert len(data) == size + 16 * max(1, -(-size // CHUNK))
    assert opened(tmp_path, data, key) == content


def test_the_same_content_is_sealed_differently_each_time(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(b"weights")
    files = {sealing.seal(tmp_path / "content", tmp_path / str(n), sealing.new_key(), PLACE).sha256 for n in range(3)}
    assert len(files) == 3


def test_no_flipped_bit_opens(tmp_path: Path) -> None:
    key = sealing.new_key()
    _, data = sealed(tmp_path, CHUNK + 40, key)
    for position in (0, 1, CHUNK - 1, CHUNK, SEALED_CHUNK - 1, SEALED_CHUNK, len(data) - 17, len(data) - 1):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            with pytest.raises(SealError, match=f"chunk {1 + (position >= SEALED_CHUNK)} of 2 does not open"):
                opened(tmp_path, bytes(changed), key)


def test_chunks_cannot_be_exchanged_repeated_or_cut_off(tmp_path: Path) -> None:
    key = sealing.new_key()
    _, data = sealed(tmp_path, 3 * CHUNK, key)
    first, second, third = (data[begin : begin + SEALED_CHUNK] for begin in range(0, len(data), SEALED_CHUNK))
    for changed in (
        second + first + third, first + first + third, first + second, first, first + third, first + second + third + third, b"",
        data[:-1], data + b"x",
    ):  # fmt: skip
        with pytest.raises(SealError):
            opened(tmp_path, changed, key)


@pytest.mark.parametrize("field", ["record", "content"])
def test_a_file_opens_in_no_other_place(tmp_path: Path, field: str) -> None:
    key = sealing.new_key()
    _, data = sealed(tmp_path, 100, key)
    other = Place(**{name: getattr(PLACE, name) for name in ("federation", "record", "role", "content")} | {field: "other"})
    with pytest.raises(SealError):
        opened(tmp_path, data, key, other)


@pytest.mark.parametrize("field", ["federation", "record", "role", "content"])
def test_a_wrapped_key_opens_in_no_other_place_and_for_nobody_else(field: str) -> None:
    key, own, other = sealing.new_key(), DecryptionKey.generate(), DecryptionKey.generate()
    box = sealing.wrap(key, own.public, PLACE)
    assert len(box) == sealing.WRAPPED_BYTES
    assert sealing.unwrap(box, own, PLACE) == key
    elsewhere = Place(**{name: getattr(PLACE, name) for name in ("federation", "record", "role", "content")} | {field: "other"})
    with pytest.raises(SealError, match="does not open"):
        sealing.unwrap(box, own, elsewhere)
    with pytest.raises(SealError, match="does not open"):
        sealing.unwrap(box, other, PLACE)


def test_no_flipped_bit_of_a_wrapped_key_opens() -> None:
    own = DecryptionKey.generate()
    box = sealing.wrap(sealing.new_key(), own.public, PLACE)
    for position in (0, 500, 1087, 1088, 1119, 1120, len(box) - 1):
        changed = bytearray(box)
        changed[position] ^= 1
        with pytest.raises(SealError):
            sealing.unwrap(bytes(changed), own, PLACE)
    for shorter in (box[:-1], box[:40], b""):
        with pytest.raises(SealError):
            sealing.unwrap(shorter, own, PLACE)


def test_a_wrapped_key_of_another_length_is_refused() -> None:
    own = DecryptionKey.generate()
    with pytest.raises(SealError, match="has 31 bytes, expected 32"):
        sealing.unwrap(own.public.encrypt(bytes(31), PLACE.info), own, PLACE)


def test_the_published_vectors_hold_for_another_implementation() -> None:
    """Everything is computed here from `cryptography` alone, as docs/protocol.md says it."""
    place = VECTORS["place"]
    info = json.dumps(
        ["fedcli-seal@1", *(place[name] for name in ("federation", "record", "role", "content"))], separators=(",", ":")
    )
    private = hpke.MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(VECTORS["mlkem_seed"])),
        X25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["x25519"])),
    )
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    key = suite.decrypt(base64.b64decode(VECTORS["wrapped"]), private, info.encode())
    assert key.hex() == VECTORS["content_key"]
    additional = json.dumps(["fedcli-seal@1", place["record"], place["content"]], separators=(",", ":")).encode()
    content = bytes(range(256)) * 4096 + bytes(VECTORS["content_size"] - 256 * 4096)
    chunks = [content[begin : begin + CHUNK] for begin in range(0, len(content), CHUNK)]
    cipher = AESGCM(key)
    data = b"".join(
        cipher.encrypt(number.to_bytes(11, "big") + bytes([number == len(chunks) - 1]), chunk, additional)
        for number, chunk in enumerate(chunks)
    )
    assert sha256(data).hexdigest() == VECTORS["sealed_sha256"]
    assert data[:16].hex() == VECTORS["sealed_first_16"]


def test_the_vectors_hold_here(tmp_path: Path) -> None:
    place = Place(**VECTORS["place"])
    own = DecryptionKey(
        MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(VECTORS["mlkem_seed"])),
        X25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["x25519"])),
    )
    assert own.public.digest == VECTORS["public_digest"]
    key = sealing.unwrap(base64.b64decode(VECTORS["wrapped"]), own, place)
    (tmp_path / "content").write_bytes(bytes(range(256)) * 4096 + bytes(VECTORS["content_size"] - 256 * 4096))
    assert sealing.seal(tmp_path / "content", tmp_path / "sealed", key, place).sha256 == VECTORS["sealed_sha256"]

"""Encryption keys as files and as lines, and a party's keyring of them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import ConfigurationError
from fedcli.privacy import encryption_keys
from fedcli.privacy.encryption_keys import ALGORITHM, PUBLIC_BYTES, DecryptionKey, EncryptionKey, digest_of
from fedcli.privacy.keyring import Keyring, new_key

if TYPE_CHECKING:
    from pathlib import Path


def never() -> str:
    message = "this key is not encrypted"
    raise AssertionError(message)


@pytest.mark.parametrize("passphrase", [None, "a long passphrase"])
def test_a_key_is_read_as_it_was_written(tmp_path: Path, passphrase: str | None) -> None:
    key, path = DecryptionKey.generate(), tmp_path / "auditor.key"
    key.save(path, "auditor", passphrase)
    assert path.stat().st_mode & 0o777 == 0o600
    assert encryption_keys.load(path, (lambda: passphrase) if passphrase else never).public == key.public
    assert encryption_keys.load_public(encryption_keys.public_path(path)) == key.public
    assert digest_of(key.public.line) == key.public.digest
    if passphrase:
        with pytest.raises(ConfigurationError, match=r"auditor\.key: the passphrase is wrong, or the key is damaged"):
            encryption_keys.load(path, lambda: "another one")


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_another_file_is_no_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(ConfigurationError, match="not an encryption key"):
        encryption_keys.load(tmp_path / "key", never)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        encryption_keys.load(tmp_path / "missing", never)


def test_two_other_keys_are_refused(tmp_path: Path) -> None:
    key = DecryptionKey.generate()
    key.save(tmp_path / "key", "", None)
    text = (tmp_path / "key").read_text()
    second = text[text.index("-----BEGIN", 5) :]
    (tmp_path / "key").write_text(second + second)
    with pytest.raises(ConfigurationError, match="keys of other kinds"):
        encryption_keys.load(tmp_path / "key", never)


@pytest.mark.parametrize(
    "raw",
    [
        bytes(PUBLIC_BYTES),  # an X25519 key of low order: everybody knows the shared secret
        b"\xff" * PUBLIC_BYTES,  # no polynomial of ML-KEM has such coefficients
        bytes(PUBLIC_BYTES - 1),
    ],
)
def test_bytes_that_are_no_key_are_refused(raw: bytes) -> None:
    with pytest.raises(ConfigurationError, match=f"not an encryption key, expected a line `{ALGORITHM} …`"):
        EncryptionKey.parse(f"{ALGORITHM} {base64.b64encode(raw).decode()}")


@pytest.mark.parametrize("line", ["", ALGORITHM, f"{ALGORITHM} ???", "ssh-ed25519 AAAA"])
def test_lines_that_are_no_key_are_refused(line: str) -> None:
    with pytest.raises(ConfigurationError, match="not an encryption key"):
        EncryptionKey.parse(line)


def test_a_keyring_keeps_the_keys_before_the_newest_one(tmp_path: Path) -> None:
    first, second = (new_key(tmp_path / "encryption", "north", None) for _ in range(2))
    keyring = Keyring.of_folder(tmp_path / "encryption", never, tmp_path)
    assert (keyring.public, keyring.present) == ((first, second), second)
    for key in (first, second):
        assert keyring.private(keyring.digests()[key.digest]).public == key
    assert (tmp_path / "encryption").stat().st_mode & 0o777 == 0o700


def test_a_private_key_beside_another_public_half_is_refused(tmp_path: Path) -> None:
    for _ in range(2):
        new_key(tmp_path, "north", None)
    (tmp_path / "0001.key.pub").write_bytes((tmp_path / "0002.key.pub").read_bytes())
    keyring = Keyring.of_folder(tmp_path, never, tmp_path)
    with pytest.raises(ConfigurationError, match=r"0001\.key: 0001\.key\.pub beside it is the public half of another key"):
        keyring.private(tmp_path / "0001.key")


def test_a_new_key_never_takes_the_place_of_another(tmp_path: Path) -> None:
    for _ in range(2):
        new_key(tmp_path, "north", None)
    for path in tmp_path.glob("0001.*"):
        path.unlink()
    before = (tmp_path / "0002.key").read_bytes()
    new_key(tmp_path, "north", None)
    assert (tmp_path / "0002.key").read_bytes() == before
    assert (tmp_path / "0003.key").is_file()

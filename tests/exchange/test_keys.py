"""Keys: private ones in files, public ones as users name them and as records list them."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcli.errors import ConfigurationError, UsageError
from fedcli.exchange.keys import (
    create_key,
    fingerprint_of,
    load_signer,
    own_key,
    public_keys,
    read_public_key,
    verify_keys,
)
from fedcli.exchange.signatures import VerifyKey, verify

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

RECORD = b'{\n "schema": "fedcli-update@1",\n "steps": 717\n}\n'


def never_asked() -> str:
    pytest.fail("asked for a passphrase that is not needed")


def test_a_key_is_created_for_its_owner_alone(
    tmp_path: Path, ssh_keygen: Callable[..., subprocess.CompletedProcess[bytes]]
) -> None:
    mask = os.umask(0)
    try:
        signer = create_key(tmp_path / "key", "north")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert (tmp_path / "key.pub").read_text(encoding="utf-8") == f"{signer.verify_key.line} north\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.pub"]
    printed = ssh_keygen("-l", "-f", tmp_path / "key.pub").stdout.decode()
    assert printed == f"256 {signer.verify_key.fingerprint} north (ED25519)\n"
    assert ssh_keygen("-y", "-f", tmp_path / "key").stdout.decode().split()[:2] == signer.verify_key.line.split()
    assert load_signer(tmp_path / "key", never_asked).verify_key == signer.verify_key


def test_two_created_keys_differ(tmp_path: Path) -> None:
    assert create_key(tmp_path / "a", "a").verify_key != create_key(tmp_path / "b", "b").verify_key


def test_an_encrypted_key_asks_for_its_passphrase_once(keys: Path) -> None:
    asked: list[None] = []

    def answer() -> str:
        asked.append(None)
        return "correct hörse"

    signer = load_signer(keys / "encrypted", answer)
    assert signer.verify_key == VerifyKey.parse((keys / "encrypted.pub").read_text(encoding="utf-8"))
    assert verify(signer.sign(RECORD), RECORD, [signer.verify_key]) == signer.verify_key
    assert len(asked) == 1


@pytest.mark.parametrize("passphrase", ["", "wrong", "correct horse", "p" * 1000, "\0"])
def test_a_wrong_passphrase_is_called_that(keys: Path, passphrase: str) -> None:
    with pytest.raises(ConfigurationError, match="encrypted: the passphrase is wrong, or the key is damaged") as caught:
        load_signer(keys / "encrypted", lambda: passphrase)
    assert "FEDCLI_KEY_PASSPHRASE" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("rsa", "expected an Ed25519 key, found a key of another kind"),
        ("ecdsa", "expected an Ed25519 key, found a key of another kind"),
        ("rsa-pem", "not a readable OpenSSH private key"),
        ("ed25519.pub", "not a readable OpenSSH private key"),
        ("none", "the signing key cannot be read: No such file"),
        (".", "the signing key cannot be read: Is a directory"),
    ],
)
def test_what_is_no_ed25519_key_is_refused(keys: Path, kind: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_signer(keys / kind, never_asked)
    assert str(keys / kind) in str(caught.value)
    assert caught.value.hint


@given(st.data())
@settings(max_examples=150)
def test_a_damaged_key_is_refused_or_still_a_key(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged-key"
    if not path.with_name("damaged-key.pub").exists():
        create_key(path, "")
        shutil.copy(path, path.with_name("whole-key"))
    text = bytearray(path.with_name("whole-key").read_bytes())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from(b"AQgw/+=z\n"))
    path.write_bytes(bytes(text))
    try:
        signer = load_signer(path, lambda: "guess")
    except ConfigurationError:
        return
    assert verify(signer.sign(RECORD), RECORD, [signer.verify_key]) == signer.verify_key


def test_a_workspace_gets_a_key_of_its_own_once(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    name, key = own_key(root, None, "north", never_asked)
    assert (name, read_public_key(root / "key.pub")) == ("key", key)
    assert own_key(root, None, "north", never_asked) == (name, key)


def test_a_given_key_is_named_by_its_whole_path(tmp_path: Path, keys: Path) -> None:
    key = read_public_key(keys / "ed25519.pub")
    assert own_key(tmp_path, keys / "ed25519", "north", never_asked) == (str((keys / "ed25519").resolve()), key)
    assert list(tmp_path.iterdir()) == []


def test_a_fingerprint_is_given_itself_or_by_the_path_of_a_public_key(tmp_path: Path, keys: Path) -> None:
    fingerprint = read_public_key(keys / "ed25519.pub").fingerprint
    assert fingerprint_of(str(keys / "ed25519.pub")) == fingerprint_of(fingerprint) == fingerprint
    with pytest.raises(UsageError, match="neither a fingerprint"):
        fingerprint_of(str(tmp_path / "missing.pub"))
    with pytest.raises(ConfigurationError, match="not an ssh-ed25519 public key"):
        fingerprint_of(str(keys / "rsa.pub"))
    with pytest.raises(ConfigurationError, match="the public key cannot be read"):
        read_public_key(tmp_path / "missing.pub")


def test_records_list_keys_as_they_are(keys: Path) -> None:
    key = read_public_key(keys / "ed25519.pub")
    assert verify_keys(public_keys(key)) == (key,)

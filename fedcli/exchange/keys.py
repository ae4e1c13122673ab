"""The parties' keys: in files, as users name them, and as records list them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedcli.disk import write_whole
from fedcli.errors import ConfigurationError, TrustError, UsageError
from fedcli.exchange.layout import COORDINATOR
from fedcli.exchange.records import PublicKey, Purpose, key_for
from fedcli.exchange.signatures import Signer, VerifyKey
from fedcli.privacy.encryption_keys import EncryptionKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography.hazmat.primitives.serialization import SSHPrivateKeyTypes

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import FederationRecord


def load_signer(path: Path, passphrase: Callable[[], str]) -> Signer:
    """Load an ordinary OpenSSH Ed25519 private key; `passphrase` is called only if the key is encrypted.

    Raises:
        ConfigurationError: The file is missing, not such a key, or the passphrase is wrong.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"{path}: the signing key cannot be read: {error.strerror}"
        raise ConfigurationError(
            msg, hint="name another with `key` in workspace.toml; if the key is lost: `fedcli docs when-something-breaks`"
        ) from error
    try:
        try:
            key = serialization.load_ssh_private_key(data, None)
        except TypeError:  # cryptography's way to say that the key is encrypted
            key = _decrypted(path, data, passphrase())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        msg = f"{path}: not a readable OpenSSH private key: {error}"
        raise ConfigurationError(msg, hint="ssh-keygen -t ed25519 makes a new key") from error
    if not isinstance(key, Ed25519PrivateKey):
        msg = f"{path}: expected an Ed25519 key, found a key of another kind"
        raise ConfigurationError(msg, hint="ssh-keygen -t ed25519 makes one")
    return Signer(key)


def _decrypted(path: Path, data: bytes, passphrase: str) -> SSHPrivateKeyTypes:
    try:
        return serialization.load_ssh_private_key(data, passphrase.encode())
    except (ValueError, TypeError) as error:  # TypeError: the passphrase is empty
        msg = f"{path}: the passphrase is wrong, or the key is damaged"
        raise ConfigurationError(msg, hint="type it again, or set FEDCLI_KEY_PASSPHRASE") from error


def public_half(path: Path) -> VerifyKey:
    """Read the public half of an OpenSSH private key; it is not encrypted, so no passphrase is needed.

    Raises:
        ConfigurationError: The file is missing, or not an Ed25519 private key in OpenSSH's format.
    """
    try:
        lines = path.read_text(encoding="ascii").split("-----")[2]
        fields = base64.b64decode("".join(lines.split()), validate=True).removeprefix(b"openssh-key-v1\0")
        for _ in ("cipher", "key derivation", "its options"):
            fields = fields[4 + int.from_bytes(fields[:4], "big") :]
        size = int.from_bytes(fields[4:8], "big")  # after the number of keys
        return VerifyKey.parse(f"ssh-ed25519 {base64.b64encode(fields[8 : 8 + size]).decode()}")
    except OSError as error:
        msg = f"{path}: the signing key cannot be read: {error.strerror}"
        raise ConfigurationError(
            msg, hint="name another with `key` in workspace.toml; if the key is lost: `fedcli docs when-something-breaks`"
        ) from error
    except (IndexError, ValueError, ConfigurationError) as error:
        msg = f"{path}: not an Ed25519 private key in OpenSSH's format"
        raise ConfigurationError(msg, hint="ssh-keygen -t ed25519 makes one") from error


def create_key(path: Path, comment: str) -> Signer:
    """Create an Ed25519 key without a passphrase at `path` (mode 0600) and `path`.pub, and return it."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    signer = Signer(key)
    write_whole(path.with_name(path.name + ".pub"), f"{signer.verify_key.line} {comment}\n".encode())
    write_whole(path, private, mode=0o600)
    return signer


def own_key(root: Path, key: Path | None, comment: str, passphrase: Callable[[], str]) -> tuple[str, VerifyKey]:
    """Return a party's key as workspace.toml names it, and its public half.

    Args:
        root: The workspace.
        key: The private key; None takes the workspace's own, which is created if it is missing.
        comment: The comment of a new key.
        passphrase: Called only if the key is encrypted.

    Raises:
        ConfigurationError: The key cannot be read.
    """
    path = (root / "key") if key is None else key.expanduser().resolve()
    signer = create_key(path, comment) if key is None and not path.exists() else load_signer(path, passphrase)
    return ("key" if key is None else str(path)), signer.verify_key


def read_public_key(path: Path) -> VerifyKey:
    """Read a .pub file.

    Raises:
        ConfigurationError: It is missing, or holds no Ed25519 key.
    """
    try:
        return VerifyKey.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: the public key cannot be read: {error}"
        raise ConfigurationError(msg) from error


def read_recovery_key(path: Path, signing: VerifyKey) -> PublicKey:
    """Read the .pub file of a recovery key.

    Args:
        path: The file.
        signing: The coordinator's signing key.

    Raises:
        ConfigurationError: It is missing, holds no Ed25519 key, or holds the signing key.
    """
    key = read_public_key(path)
    if key == signing:
        msg = f"{path}: the recovery key is the coordinator's signing key, expected another one"
        raise ConfigurationError(msg, hint="make a key of its own with ssh-keygen -t ed25519, and keep its private half offline")
    return public_keys(key)[0]


def fingerprint_of(text: str) -> str:
    """Return the fingerprint that a user gave: the fingerprint itself, or the path of a public key.

    Raises:
        UsageError: It is neither.
    """
    if text.startswith("SHA256:"):
        return text
    if Path(text).is_file():
        return read_public_key(Path(text)).fingerprint
    msg = f"{text}: neither a fingerprint (SHA256:…) nor the file of a public key"
    raise UsageError(msg)


def public_keys(signing: VerifyKey, encryption: EncryptionKey | None = None) -> tuple[PublicKey, ...]:
    """Return a party's keys as records list them."""
    keys: tuple[PublicKey, ...] = (PublicKey(purpose=Purpose.SIGNING, algorithm="ssh-ed25519", public_key=signing.line),)
    if encryption is not None:
        keys += (PublicKey(purpose=Purpose.ENCRYPTION, algorithm="mlkem768-x25519", public_key=encryption.line),)
    return keys


def encryption_key(keys: Iterable[PublicKey]) -> EncryptionKey | None:
    """Return the encryption key among those that a record lists; None if there is none.

    Raises:
        TrustError: Nothing can be encrypted to it.
    """
    key = key_for(Purpose.ENCRYPTION, tuple(keys))
    try:
        return None if key is None else EncryptionKey.parse(key.public_key)
    except ConfigurationError as error:
        msg = f"a record lists an encryption key that is {error}"
        raise TrustError(msg) from error


def verify_keys(keys: Iterable[PublicKey]) -> tuple[VerifyKey, ...]:
    """Return the signing keys among those that a record lists.

    Raises:
        TrustError: One of them is not an Ed25519 key.
    """
    try:
        return tuple(VerifyKey.parse(key.public_key) for key in keys if key.purpose is Purpose.SIGNING)
    except ConfigurationError as error:  # the key is in a record, not in a file of this party's own
        msg = f"a record lists a key that is {error}"
        raise TrustError(msg) from error


def principals(federations: Iterable[Verified[FederationRecord]]) -> list[tuple[str, VerifyKey]]:
    """Return every key that any federation record lists, each once, in order of appearance, with the party's name."""
    keys: dict[tuple[str, str], None] = {}
    for verified in federations:
        recovery = (verified.record.recovery,) if verified.record.recovery else ()
        listed = {COORDINATOR: (*verified.record.coordinator, *recovery)}
        listed |= {member.site: member.keys for member in verified.record.members}
        keys.update({(name, key.line): None for name, items in listed.items() for key in verify_keys(items)})
    return [(name, VerifyKey.parse(line)) for name, line in keys]

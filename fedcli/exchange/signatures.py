"""Detached OpenSSH signatures (SSHSIG version 1, Ed25519, SHA-512) and their keys.

The format is OpenSSH's PROTOCOL.sshsig; `ssh-keygen -Y verify` accepts every signature made here. The reverse is narrower: a
signature must equal, byte for byte, the canonical form of its content, so that one record has one signature per key.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedcli.errors import ConfigurationError, TrustError

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMESPACE = "fedcli-record@v1"
ALGORITHM = "ssh-ed25519"
MAX_SIGNATURE_BYTES = 2048

_MAGIC = b"SSHSIG"
_HASH = b"sha512"
_BEGIN = "-----BEGIN SSH SIGNATURE-----\n"
_END = "-----END SSH SIGNATURE-----\n"
_LINE = 70


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """An Ed25519 public key.

    Attributes:
        raw: The 32 bytes of the key.
    """

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> VerifyKey:
        """Read one line of an OpenSSH public key file; its comment is ignored.

        Raises:
            ConfigurationError: It is not an ssh-ed25519 key.
        """
        words = text.split()
        try:
            blob = base64.b64decode(words[1], validate=True) if words[0] == ALGORITHM else b""
        except (IndexError, ValueError):
            blob = b""
        raw = blob[-32:]
        if blob != _string(ALGORITHM.encode()) + _string(raw):
            msg = f"not an {ALGORITHM} public key: {text.strip()[:60]!r}"
            raise ConfigurationError(msg, hint="ssh-keygen -t ed25519 makes one; give the file that ends in .pub")
        return cls(raw)

    @property
    def blob(self) -> bytes:
        """The key in OpenSSH's binary form."""
        return _string(ALGORITHM.encode()) + _string(self.raw)

    @property
    def line(self) -> str:
        """The key in OpenSSH's text form, without a comment."""
        return f"{ALGORITHM} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint as `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")


class Signer:
    """A private key that signs records."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verify_key = VerifyKey(key.public_key().public_bytes_raw())

    def sign(self, data: bytes, namespace: str = NAMESPACE) -> bytes:
        """Return the armoured signature over `data`."""
        return _armour(self.verify_key, namespace, self._key.sign(_signed_data(data, namespace)))


def verify(signature: bytes, data: bytes, allowed: Iterable[VerifyKey], namespace: str = NAMESPACE) -> VerifyKey:
    """Return the key among `allowed` that signed `data`.

    Raises:
        TrustError: The signature is too long, not canonical, of another namespace, by another key, or does not match the data.
    """
    if len(signature) > MAX_SIGNATURE_BYTES:
        msg = f"the signature has {len(signature)} bytes, expected at most {MAX_SIGNATURE_BYTES}"
        raise TrustError(msg)
    key, stated, raw = _parse(signature)
    if stated != namespace:
        msg = f"the signature is for namespace {stated!r}, expected {namespace!r}"
        raise TrustError(msg)
    if _armour(key, namespace, raw) != signature:
        msg = "the signature is not in canonical form"
        raise TrustError(msg)
    known = tuple(allowed)
    if key not in known:
        expected = ", ".join(each.fingerprint for each in known) or "none"
        msg = f"signed by the key {key.fingerprint}, expected {expected}"
        raise TrustError(msg)
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(raw, _signed_data(data, namespace))
    except InvalidSignature as error:
        msg = "the signature does not match the bytes"
        raise TrustError(msg) from error
    return key


def allowed_signers(principals: Iterable[tuple[str, VerifyKey]]) -> str:
    """Return the text of an allowed_signers file for `ssh-keygen -Y verify`."""
    return "".join(f'{name} namespaces="{NAMESPACE}" {key.line}\n' for name, key in principals)


def _signed_data(data: bytes, namespace: str) -> bytes:
    return _MAGIC + _string(namespace.encode()) + _string(b"") + _string(_HASH) + _string(hashlib.sha512(data).digest())


def _armour(key: VerifyKey, namespace: str, raw: bytes) -> bytes:
    inner = _string(ALGORITHM.encode()) + _string(raw)
    blob = (
        _MAGIC
        + (1).to_bytes(4, "big")
        + _string(key.blob)
        + _string(namespace.encode())
        + _string(b"")
        + _string(_HASH)
        + _string(inner)
    )
    text = base64.b64encode(blob).decode()
    lines = "".join(text[start : start + _LINE] + "\n" for start in range(0, len(text), _LINE))
    return (_BEGIN + lines + _END).encode()


def _parse(signature: bytes) -> tuple[VerifyKey, str, bytes]:
    """Return the key, the namespace and the raw signature, without strict checks: the caller compares the canonical form."""
    try:
        text = signature.decode("ascii")
        blob = base64.b64decode("".join(text.split("\n")[1:-2]), validate=True)
        key, namespace, _reserved, _hash, inner = _strings(blob[len(_MAGIC) + 4 :])
        _algorithm, raw = _strings(inner)
        return VerifyKey(key[-32:]), namespace.decode(), raw
    except ValueError as error:
        msg = "not an OpenSSH signature by an Ed25519 key"
        raise TrustError(msg) from error


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _strings(data: bytes) -> list[bytes]:
    parts: list[bytes] = []
    while data:
        length = int.from_bytes(data[:4], "big")
        parts.append(data[4 : 4 + length])
        data = data[4 + length :]
    return parts

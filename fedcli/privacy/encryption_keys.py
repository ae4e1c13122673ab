"""Keys to which artifacts are encrypted: MLKEM768-X25519, the hybrid of ML-KEM-768 (FIPS 203) and X25519 (RFC 7748).

A text that was encrypted to such a key stays secret while either of the two holds: a computer that breaks X25519 one day opens
nothing that is stored now. A public key is the two public keys one after the other, 1184 and 32 bytes, in base64. A private key
is a file of two PEM blocks, PKCS #8, which a passphrase encrypts.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke, serialization
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fedcli.disk import write_whole
from fedcli.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALGORITHM = "mlkem768-x25519"
PUBLIC_BYTES = 1184 + 32
_LATTICE_BYTES = 1184
_END = b"-----END"
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """A public key, to which anybody can encrypt.

    Attributes:
        raw: The public keys of ML-KEM-768 and X25519, one after the other.
    """

    raw: bytes

    @classmethod
    def parse(cls, line: str) -> EncryptionKey:
        """Return the key of a line `mlkem768-x25519 BASE64`; what follows is a comment.

        Raises:
            ConfigurationError: It is not such a line.
        """
        algorithm, _, rest = line.partition(" ")
        try:
            key = cls(base64.b64decode(rest.partition(" ")[0].strip() if algorithm == ALGORITHM else "", validate=True))
            key.encrypt(b"", b"")  # some bytes are no key: nothing could be encrypted to them
        except (ValueError, UnsupportedAlgorithm) as error:
            msg = f"not an encryption key, expected a line `{ALGORITHM} …` with {PUBLIC_BYTES} bytes in base64"
            raise ConfigurationError(msg) from error
        return key

    @property
    def line(self) -> str:
        """The key as records and files list it."""
        return f"{ALGORITHM} {base64.b64encode(self.raw).decode()}"

    @property
    def digest(self) -> str:
        """SHA-256 of the key's bytes, by which records name it."""
        return hashlib.sha256(self.raw).hexdigest()

    def encrypt(self, secret: bytes, info: bytes) -> bytes:
        """Return a secret that only the private key opens, and only with the same `info` (RFC 9180, base mode)."""
        return _SUITE.encrypt(secret, self._hybrid(), info)

    def _hybrid(self) -> hpke.MLKEM768X25519PublicKey:
        if len(self.raw) != PUBLIC_BYTES:
            raise ValueError(len(self.raw))
        lattice, curve = self.raw[:_LATTICE_BYTES], self.raw[_LATTICE_BYTES:]
        return hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(lattice), X25519PublicKey.from_public_bytes(curve)
        )


@lru_cache(4096)
def digest_of(line: str) -> str:
    """Return the digest of a key in a line that was checked before."""
    return hashlib.sha256(base64.b64decode(line.split()[1])).hexdigest()


@dataclass(frozen=True, slots=True)
class DecryptionKey:
    """The private half of an encryption key."""

    lattice: MLKEM768PrivateKey
    curve: X25519PrivateKey

    @classmethod
    def generate(cls) -> DecryptionKey:
        """Return a new key."""
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @property
    def public(self) -> EncryptionKey:
        """The public half."""
        return EncryptionKey(self.lattice.public_key().public_bytes_raw() + self.curve.public_key().public_bytes_raw())

    def decrypt(self, box: bytes, info: bytes) -> bytes:
        """Return the secret of a box.

        Raises:
            cryptography.exceptions.InvalidTag: It was made for another key or another `info`, or was changed.
            ValueError: It is too short to be a box.
        """
        return _SUITE.decrypt(box, hpke.MLKEM768X25519PrivateKey(self.lattice, self.curve), info)

    def save(self, path: Path, comment: str, passphrase: str | None) -> None:
        """Write the key to `path` (mode 0600) and its public half to `path`.pub.

        Args:
            path: The new file.
            comment: What the public half says after the key.
            passphrase: Encrypts the file; None leaves it plain.
        """
        cipher: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            cipher = serialization.BestAvailableEncryption(passphrase.encode())
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher)
        write_whole(public_path(path), f"{self.public.line} {comment}\n".encode())
        write_whole(path, self.lattice.private_bytes(*form) + self.curve.private_bytes(*form), mode=0o600)


def public_path(path: Path) -> Path:
    """Return where the public half of a private key lies: beside it."""
    return path.with_name(f"{path.name}.pub")


def load(path: Path, passphrase: Callable[[], str]) -> DecryptionKey:
    """Read a private key; `passphrase` is called only if it is encrypted.

    Raises:
        ConfigurationError: It cannot be read, is not such a key, or the passphrase is wrong.
    """
    try:
        first, second, rest = path.read_bytes().split(_END)
    except OSError as error:
        msg = f"{path}: the encryption key cannot be read: {error.strerror}"
        raise ConfigurationError(msg, hint="if it is lost: `fedcli docs when-something-breaks`") from error
    except ValueError as error:
        msg = f"{path}: not an encryption key, expected two PEM blocks"
        raise ConfigurationError(msg) from error
    line, _, beginning = second.partition(b"\n")
    blocks = (first + _END + line + b"\n", beginning + _END + rest)
    secret = passphrase().encode() if b"BEGIN ENCRYPTED" in first else None
    try:
        lattice, curve = (serialization.load_pem_private_key(block, secret) for block in blocks)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = "not a readable encryption key" if secret is None else "the passphrase is wrong, or the key is damaged"
        msg = f"{path}: {what}"
        raise ConfigurationError(msg) from error
    if not isinstance(lattice, MLKEM768PrivateKey) or not isinstance(curve, X25519PrivateKey):
        msg = f"{path}: expected an ML-KEM-768 key and an X25519 key, found keys of other kinds"
        raise ConfigurationError(msg)
    return DecryptionKey(lattice, curve)


def load_public(path: Path) -> EncryptionKey:
    """Read the file of a public key.

    Raises:
        ConfigurationError: It is missing, or holds no such key.
    """
    try:
        return EncryptionKey.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: the encryption key cannot be read: {error}"
        raise ConfigurationError(msg) from error
    except ConfigurationError as error:
        msg = f"{path}: {error}"
        raise ConfigurationError(msg) from error

"""The keys of masks: a site's own, from its seed, and one for each pair of sites, from X25519.

    key  = HKDF-SHA256(secret, salt = SHA-256 of the opening record, info), 32 bytes
    secret, info    the seed b,            ["self","NAME"]
                    X25519(e_k, E_j),      ["pair","LOWER","HIGHER"], the names in bytewise order

The info is JSON without spaces, so that no two lists are the same bytes. The opening names every public key by digest, so a key
serves one pair in one round. Of a pair the lower name adds the mask to its delta and the higher one subtracts it: they cancel.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedcli.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY_BYTES = 32

_FIELD = 2**255 - 19
_LOW_ORDER = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    }
)
"""The u-coordinates of the points of orders 1, 2, 4 and 8, on Curve25519 and on its twist. Whatever the private key is, the
shared secret with these is zero, and everybody knows the mask."""


class WeakKeyError(TrustError):
    """A public key makes masks that everybody knows, or is no canonical X25519 key.

    Attributes:
        owner: The site whose key it is.
    """

    def __init__(self, owner: str, fault: str) -> None:
        super().__init__(f"the masking key of {owner} {fault}", hint=f"{owner} must prepare new masks")
        self.owner = owner


@dataclass(frozen=True, slots=True)
class Mask:
    """A key whose stream is added to or subtracted from a delta.

    Attributes:
        key: 32 bytes.
        adds: Whether the stream is added; if not, it is subtracted.
    """

    key: bytes
    adds: bool


def check_public_key(owner: str, public_key: bytes) -> None:
    """Refuse a key before it takes part in a round.

    Raises:
        WeakKeyError: It has another length, is not reduced modulo 2**255 - 19 (only that encoding of a key follows from its
            private key), or is of low order.
    """
    coordinate = int.from_bytes(public_key, "little")
    if len(public_key) != KEY_BYTES:
        raise WeakKeyError(owner, f"has {len(public_key)} bytes, expected {KEY_BYTES}")
    if coordinate >= _FIELD:
        raise WeakKeyError(owner, "is not canonical: expected a number below 2^255 - 19")
    if coordinate in _LOW_ORDER:
        raise WeakKeyError(owner, "is of low order: everybody would know its masks")


def public_key_of(private_key: bytes) -> bytes:
    """Return the X25519 public key of a private key, 32 bytes each."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def self_mask(seed: bytes, site: str, opening: str) -> Mask:
    """Return a site's own mask.

    Args:
        seed: b, 32 random bytes.
        site: The site's name.
        opening: SHA-256 of the opening record, in hexadecimal digits.
    """
    return Mask(key=_derived(seed, opening, ("self", site)), adds=True)


def pair_mask(private_key: bytes, site: str, peer: str, peer_key: bytes, opening: str) -> Mask:
    """Return the mask that a site shares with a peer, as the site applies it.

    Args:
        private_key: The site's X25519 private key of the round.
        site: The site's name.
        peer: The peer's name.
        peer_key: The peer's X25519 public key of the round.
        opening: SHA-256 of the opening record, in hexadecimal digits.

    Raises:
        WeakKeyError: The peer's key makes masks that everybody knows.
        ValueError: The two are the same site.
    """
    if site == peer:
        msg = f"{site} has no pair mask with itself"
        raise ValueError(msg)
    check_public_key(peer, peer_key)
    try:
        secret = X25519PrivateKey.from_private_bytes(private_key).exchange(X25519PublicKey.from_public_bytes(peer_key))
    except ValueError as error:  # the shared secret is zero
        raise WeakKeyError(peer, "is of low order: everybody would know its masks") from error
    lower, higher = sorted((site, peer), key=str.encode)
    return Mask(key=_derived(secret, opening, ("pair", lower, higher)), adds=site == lower)


def _derived(secret: bytes, opening: str, words: Sequence[str]) -> bytes:
    info = json.dumps(words, separators=(",", ":")).encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=bytes.fromhex(opening), info=info).derive(secret)

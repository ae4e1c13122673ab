"""The seeds of all random numbers of training: from words of the plan, never from digests, keys or the clock."""

from __future__ import annotations

import hashlib


def derive_seed(*words: str | int) -> int:
    """Return the seed for these words: plan seed, site name, round, purpose and the like.

    It is SHA-256 over the words as netstrings, so that ("ab", "c") and ("a", "bc") differ. A number is the same word as its
    decimal digits. The result is below 2**63, as numpy and torch require.
    """
    encoded = [str(word).encode() for word in words]
    message = b"".join(b"%d:%s," % (len(word), word) for word in encoded)
    return int.from_bytes(hashlib.sha256(message).digest()[:8], "big") >> 1

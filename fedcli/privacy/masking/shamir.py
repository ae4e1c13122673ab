"""Shamir's secret sharing of 32 bytes over the prime field 2**256 + 297.

A secret s and random coefficients make the polynomial f(x) = s + c_1·x + … + c_(T-1)·x^(T-1). The share of position x ≥ 1 is
f(x). Any T shares determine f(0) = s; fewer say nothing about it. Numbers are big-endian: a secret has 32 bytes, a share 33.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PRIME = 2**256 + 297
"""The smallest prime above all secrets of 32 bytes."""
SECRET_BYTES = 32
SHARE_BYTES = 33

_COEFFICIENT_BYTES = 48
"""So many random bytes modulo PRIME are uniform but for a statistical distance below 2**-127."""


def threshold(num_members: int) -> int:
    """Return T = ⌊2K/3⌋ + 1, how many shares of K restore a secret: two groups of T have more than a third in common."""
    return 2 * num_members // 3 + 1


def tolerated_losses(num_members: int) -> int:
    """Return K - T = ⌈K/3⌉ - 1, how many members may fail to answer."""
    return num_members - threshold(num_members)


def split(secret: bytes, num_shares: int, needed: int, random: Callable[[int], bytes]) -> tuple[bytes, ...]:
    """Return the shares of a secret, for the positions 1, 2, … in this order.

    Args:
        secret: 32 bytes.
        num_shares: K.
        needed: T, how many shares restore it; 1 to K.
        random: Returns so many random bytes, from a cryptographic source.

    Raises:
        ValueError: The secret has another length, or the numbers do not fit.
    """
    if len(secret) != SECRET_BYTES or not 1 <= needed <= num_shares:
        msg = f"cannot split {len(secret)} bytes into {num_shares} shares of which {needed} are needed"
        raise ValueError(msg)
    coefficients = [int.from_bytes(random(_COEFFICIENT_BYTES)) % PRIME for _ in range(needed - 1)]
    return tuple(_value(secret, coefficients, position) for position in range(1, num_shares + 1))


def combine(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret of exactly as many shares as are needed, given by position.

    Raises:
        ValueError: A share or a position is none, or the polynomial's value at 0 has more than 32 bytes.
    """
    points = {position: int.from_bytes(share) for position, share in shares.items()}
    if not points or min(points) < 1 or any(len(share) != SHARE_BYTES for share in shares.values()):
        msg = f"shares have positions from 1 and {SHARE_BYTES} bytes each"
        raise ValueError(msg)
    secret = 0
    for position, value in points.items():
        numerator, denominator = value, 1
        for other in points:
            if other != position:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - position) % PRIME
        secret += numerator * pow(denominator, -1, PRIME)
    secret %= PRIME
    if max(points.values()) >= PRIME or secret >> (8 * SECRET_BYTES):
        msg = f"the shares are not those of a secret of {SECRET_BYTES} bytes"
        raise ValueError(msg)
    return secret.to_bytes(SECRET_BYTES)


def _value(secret: bytes, coefficients: list[int], position: int) -> bytes:
    """Return the polynomial's value at a position."""
    value = 0
    for coefficient in (*reversed(coefficients), int.from_bytes(secret)):
        value = (value * position + coefficient) % PRIME
    return value.to_bytes(SHARE_BYTES)

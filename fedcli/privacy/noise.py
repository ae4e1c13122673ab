"""The random numbers of private training, from 32 secret bytes a round through AES-256 in counter mode.

Whoever could compute the noise could subtract it, so none of it comes from a seed that others know. Value i of step t is always
made of the blocks 4i to 4i+3 of step t's stream, whatever the number of threads; training that is resumed at a step meets the
same noise.

A normal value is half the sum of four draws by Box and Muller's method (1958), √(-2 ln u)·cos(2πv). The few values that one draw
can take in floating point give away what it was added to; of half the sum of four there are too many to enumerate (Holohan &
Braghin 2021, arXiv:2112.05307). The sine of the same pair, which would tell about the cosine, is not used.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEY_BYTES = 32
"""Length of a round's key."""
_DRAWS = 4
_PIECE = 1 << 13
"""Values that are made at a time: their intermediate arrays stay in the processor's cache."""
_WORD = np.dtype("<u8")
_GRID_BITS = 20


class SecretStream:
    """Random numbers of one purpose: each (purpose, step) has a stream of its own.

    Args:
        key: The round's 32 bytes.
        purpose: Such as `noise`; different purposes are independent.
    """

    def __init__(self, key: bytes, purpose: str) -> None:
        if len(key) != KEY_BYTES:
            msg = f"a key has {KEY_BYTES} bytes, got {len(key)}"
            raise ValueError(msg)
        self._key = HKDF(SHA256(), KEY_BYTES, salt=None, info=f"fedcli {purpose}".encode()).derive(key)

    def words(self, step: int, first_block: int, num: int) -> NDArray[np.uint64]:
        """Return random words of a step, (num,) uint64, from the beginning of a block of two words on."""
        counter = step.to_bytes(8, "big") + first_block.to_bytes(8, "big")
        stream = Cipher(algorithms.AES(self._key), modes.CTR(counter)).encryptor()
        return np.frombuffer(stream.update(bytes(num * _WORD.itemsize)), _WORD).astype(np.uint64, copy=False)

    def seed(self, step: int, number: int) -> int:
        """Return the seed below 2**63 of what one patient, by number, draws in a step."""
        return int(self.words(step, number, 1)[0] >> np.uint64(1))

    def sample(self, step: int, num: int, rate: float) -> NDArray[np.int64]:
        """Return which of `num` patients a step takes, each with probability `rate`, independently of all others; ascending."""
        return np.flatnonzero((self.words(step, 0, num) >> np.uint64(11)) * 2.0**-53 < rate)

    def add_normal(self, values: NDArray[np.float64], step: int, deviation: float, *, threads: int = 1) -> None:
        """Add independent normal noise to values in place.

        Args:
            values: (d,) float64, contiguous: all tensors one after the other, always in the same order.
            step: The step; its noise never meets other values.
            deviation: Standard deviation.
            threads: How many work at it; they do not change the noise.
        """

        def add(first: int) -> None:
            part = values[first : first + _PIECE]
            part += self._normal(step, first, part.size) * deviation

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(add, range(0, values.size, _PIECE)):
                pass

    def _normal(self, step: int, first: int, num: int) -> NDArray[np.float64]:
        words = self.words(step, first * _DRAWS, num * _DRAWS * 2).reshape(num, _DRAWS, 2)
        total = np.zeros(num)
        for draw in range(_DRAWS):
            radius = words[:, draw, 0].astype(np.float64)
            radius += 1  # (0, 2^64]: a logarithm of zero cannot occur
            radius *= 2.0**-64
            np.log(radius, out=radius)
            radius *= -2
            np.sqrt(radius, out=radius)
            angle = words[:, draw, 1].astype(np.float64)
            angle *= 2 * math.pi * 2.0**-64
            np.cos(angle, out=angle)
            radius *= angle
            total += radius
        return total / math.sqrt(_DRAWS)


def training_of(key: bytes) -> str:
    """Return a name of the training that has this key, a SHA-256 in hexadecimal; it does not give the key away."""
    return SecretStream(key, "name").words(0, 0, KEY_BYTES // 8).tobytes().hex()


def round_to_grid(values: NDArray[np.float64], deviation: float) -> None:
    """Round noisy values in place to multiples of the largest power of two that is at most 2^-20 of the noise's deviation.

    The last bits, which depend on the values without noise in ways that the noise does not hide, are gone.
    """
    spacing = 2.0 ** (math.floor(math.log2(deviation)) - _GRID_BITS)
    values /= spacing
    np.rint(values, out=values)
    values *= spacing

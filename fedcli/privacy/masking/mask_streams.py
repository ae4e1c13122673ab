"""The words of masks: AES-256 in counter mode from 0, as little-endian 64-bit numbers.

A hundred masks of a 56 MB delta are 5.6 GB of key stream, so what counts is the processor's cache: a block of 128 KiB of each
stream is made and added before the next block. Both steps release Python's global interpreter lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedcli.privacy.masking.parallel_sum import WORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.ciphers import CipherContext
    from numpy.typing import NDArray

    from fedcli.privacy.masking.mask_keys import Mask

_BLOCK = 1 << 14
"""Words of a stream that are made at a time."""
_ZEROS = bytes(_BLOCK * WORD.itemsize)


class MaskStreams:
    """Masks, applied piece by piece from the first word on.

    Args:
        masks: In any order.
    """

    def __init__(self, masks: Sequence[Mask]) -> None:
        self._streams = [(_key_stream(mask.key), np.add if mask.adds else np.subtract) for mask in masks]
        self._block = np.empty(_BLOCK, WORD)

    def add_to(self, words: NDArray[np.uint64]) -> None:
        """Add to these words, or subtract from them, the next words of every mask."""
        for begin in range(0, words.size, _BLOCK):
            part = words[begin : begin + _BLOCK]
            block = self._block[: part.size]
            zeros, target = memoryview(_ZEROS)[: block.nbytes], block.view(np.uint8).data
            for stream, apply in self._streams:
                stream.update_into(zeros, target)
                apply(part, block, out=part)


def _key_stream(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

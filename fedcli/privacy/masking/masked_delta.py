"""A site's delta as its masked update: quantised, and covered by masks, modulo 2**64.

    q = rint(n_k · Δ_k · 2**32)       float32: half to even
    q = n_k · Δ_k                     int64
    |q| < 2**63 / K                   so that the sum of K sites is a signed number of 64 bits

n_k < 2**29 has at most 29 significant bits and a float32 at most 24. So their product, at most 53 bits, is exact in float64, and
so is its multiple by 2**32: magnitudes are 0 or from 2**-117 to 2**189, within float64's normal range.
`rint` is the only rounding. Numbers from 2**53 on are whole already, and every whole float64 below 2**63 is an int64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli.errors import TrainingError
from fedcli.privacy.masking.mask_streams import MaskStreams
from fedcli.privacy.masking.parallel_sum import WORD, ParallelSum
from fedcli.privacy.masking.word_pieces import masked_layout, pieces, require_end, tensor_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fedcli.privacy.masking.mask_keys import Mask
    from fedcli.privacy.masking.word_pieces import ByteStream, WordPiece
    from fedcli.tensors import Layout

SCALE = 2.0**32
"""Units of a quantised float in 1."""
_MOST_WEIGHT = (1 << 29) - 1
_TOP = 2.0**63


def masked_blocks(
    delta: ByteStream, layout: Layout, weight: int, num_members: int, masks: Sequence[Mask], threads: int = 1
) -> Iterator[bytes]:
    """Yield the file of a masked update, block by block: canonical safetensors with one I64 tensor.

    Args:
        delta: The site's delta, after its header.
        layout: That of the federation's models, which the delta has.
        weight: n_k, 1 to 2**29 - 1.
        num_members: K, the number of sites that may take part.
        masks: The site's own and one for each other participant.
        threads: The number of threads that compute; they change no bit.

    Raises:
        TrainingError: A value is not finite or too large to be summed; the tensor is named.
        TensorError: The model has a tensor of another dtype than F32 and I64.
        StreamLengthError: The delta is not as long as its layout.
    """
    if not 1 <= weight <= _MOST_WEIGHT:
        msg = f"the weight of the update is {weight}, expected 1 to {_MOST_WEIGHT}"
        raise TrainingError(msg)
    yield masked_layout(layout).header
    with ParallelSum([[MaskStreams(masks[first::threads])] for first in range(threads)]) as streams:
        for piece in pieces(layout):
            words = _quantised(piece.read(delta, "the delta"), weight, num_members, layout, piece)
            streams.add_to(words)
            yield words.tobytes()
    require_end(delta, "the delta")


def _quantised(values: NDArray[Any], weight: int, num_members: int, layout: Layout, piece: WordPiece) -> NDArray[np.uint64]:
    """Return a piece of a delta as numbers modulo 2**64."""
    most = ((1 << 63) - 1) // num_members  # the largest whole number below 2**63 / K
    if piece.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # what is not finite is named below
            products = np.rint(values.astype(np.float64) * (weight * SCALE))
        usable = np.abs(products) < _TOP
        whole = np.where(usable, products, 0).astype("<i8")
        usable &= (whole <= most) & (whole >= -most)
    else:
        usable = (values <= most // weight) & (values >= -(most // weight))
        whole = np.where(usable, values, 0) * weight
    if not usable.all():
        index = int(np.argmin(usable))
        msg = (
            f"tensor {tensor_at(layout, piece, index)}: the delta {values[index]:g} with weight {weight} cannot be masked, "
            f"expected a number below {most / weight / (SCALE if piece.dtype.kind == 'f' else 1):.6g} in magnitude"
        )
        raise TrainingError(msg, hint="the training has diverged; a lower rate, or the plan's clip_gradient, prevents that")
    words: NDArray[np.uint64] = whole.astype("<i8", copy=False).view(WORD)
    return words

"""The sum of masked updates, without what covers it; and the model that it makes.

The masks between two survivors cancel in the sum. What remains is every survivor's own mask, and for each dropped site its masks
with the survivors. The seeds of the former and the private keys of the latter are restored from shares, and then

    S = Σ masked updates - Σ own masks + what the dropped sites would have added,   modulo 2**64, read as a signed number
    φ(t) = float32(φ(t-1) + float64(S) / (2**32 · Σ n_k))                           float32
    φ(t) = φ(t-1) + floor(S / Σ n_k)                                                int64, exact

S is exact, so neither the order of the updates nor the number of threads changes a bit of the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli import tensors
from fedcli.errors import TrustError
from fedcli.privacy.masking.mask_keys import pair_mask, self_mask
from fedcli.privacy.masking.mask_streams import MaskStreams
from fedcli.privacy.masking.masked_delta import SCALE
from fedcli.privacy.masking.parallel_sum import WORD, ParallelSum
from fedcli.privacy.masking.word_pieces import masked_layout, pieces, read_array, require_end, tensor_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from fedcli.privacy.masking.mask_keys import Mask
    from fedcli.privacy.masking.parallel_sum import Addend
    from fedcli.privacy.masking.word_pieces import ByteStream, WordPiece
    from fedcli.tensors import Layout

_LARGEST = 1e15
"""A larger buffer makes a network's output infinite."""
_HINT = "masked updates cannot be told apart: end the round without a result, and ask the sites about their training"


class MaskedUpdate:
    """One survivor's masked update.

    Args:
        site: The site's name.
        stream: The file, from its first byte on; what hashes or decrypts it reads through this.
    """

    def __init__(self, site: str, stream: ByteStream) -> None:
        self.site = site
        self.stream = stream

    def check_header(self, layout: Layout) -> None:
        """Read the header, and compare it with that of a masked update.

        Args:
            layout: That of the federation's models.

        Raises:
            TensorError: They differ.
        """
        header = masked_layout(layout).header
        if self.stream.read(len(header)) != header:
            msg = f"the update of {self.site} is not a masked update of this federation's model"
            raise tensors.TensorError(msg)

    def add_to(self, words: NDArray[np.uint64]) -> None:
        """Add the update's next words to these."""
        np.add(words, read_array(self.stream, WORD, words.size, f"the update of {self.site}"), out=words)


@dataclass(frozen=True, slots=True, kw_only=True)
class SumFacts:
    """What the survivors' records say about their sum.

    Attributes:
        weight: Σ n_k.
        num_updates: |U1|.
        most_counted: Σ n_k · (the steps of k): integers of the sum are from 0 to this, no buffer's magnitude exceeds 1e15, and no
            variance is negative; None bounds nothing.
    """

    weight: int
    num_updates: int
    most_counted: int | None = None


def masks_to_remove(
    seeds: Mapping[str, bytes], dropped: Mapping[str, bytes], public_keys: Mapping[str, bytes], opening: str
) -> list[Mask]:
    """Return the masks that, added to the sum of the survivors' masked updates, leave the sum of their deltas.

    Args:
        seeds: Every survivor's seed b.
        dropped: Every dropped participant's private key e.
        public_keys: Every participant's public key E.
        opening: SHA-256 of the opening record, in hexadecimal digits.

    Raises:
        WeakKeyError: A survivor's public key makes masks that everybody knows.
    """
    own = [replace(self_mask(seed, site, opening), adds=False) for site, seed in seeds.items()]
    pairs = [pair_mask(key, site, peer, public_keys[peer], opening) for site, key in dropped.items() for peer in seeds]
    return [*own, *pairs]


def sums(updates: Sequence[MaskedUpdate], layout: Layout, masks: Sequence[Mask], threads: int = 1) -> Iterator[NDArray[np.int64]]:
    """Yield the exact sum of the survivors' quantised deltas, piece by piece.

    Args:
        updates: The survivors' updates, in any order.
        layout: That of the federation's models.
        masks: What `masks_to_remove` returned.
        threads: The number of threads that read and compute.

    Raises:
        TensorError: An update's header is not that of a masked update.
        StreamLengthError: An update is not as long as its header says.
    """
    for update in updates:
        update.check_header(layout)
    parts: list[list[Addend]] = [[*updates[first::threads], MaskStreams(masks[first::threads])] for first in range(threads)]
    with ParallelSum(parts) as total:
        for piece in pieces(layout):
            words = np.zeros(piece.count, WORD)
            total.add_to(words)
            yield words.view("<i8")
    for update in updates:
        require_end(update.stream, f"the update of {update.site}")


def new_model_blocks(base: ByteStream, layout: Layout, totals: Iterable[NDArray[np.int64]], facts: SumFacts) -> Iterator[bytes]:
    """Yield the file of φ(t), block by block.

    Args:
        base: The file of φ(t-1), after its header.
        layout: That of the federation's models.
        totals: What `sums` yields.
        facts: What the survivors' records say.

    Raises:
        TrustError: A value of φ(t) leaves its range; the tensor is named, the site cannot be.
    """
    yield layout.header
    for piece, total in zip(pieces(layout), totals, strict=True):
        values = piece.read(base, "the global model")
        make = _floats if piece.dtype.kind == "f" else _integers
        yield make(values, total, layout, piece, facts).tobytes()
    require_end(base, "the global model")


def _integers(values: NDArray[Any], total: NDArray[np.int64], layout: Layout, piece: WordPiece, facts: SumFacts) -> NDArray[Any]:
    """Return φ(t-1) + floor(S / Σ n_k)."""
    if facts.most_counted is not None:
        _require((total >= 0) & (total <= facts.most_counted), layout, piece, "counts more than the sites' steps, or backwards")
    step = np.floor_divide(total, facts.weight)
    model: NDArray[Any] = values + step
    _require(((values ^ model) & (step ^ model)) >= 0, layout, piece, "leaves its range")  # else the sign has changed
    return model


def _floats(values: NDArray[Any], total: NDArray[np.int64], layout: Layout, piece: WordPiece, facts: SumFacts) -> NDArray[Any]:
    """Return float32(φ(t-1) + float64(S) / (2**32 · Σ n_k))."""
    new = total.astype(np.float64)
    np.divide(new, SCALE * facts.weight, out=new)
    np.add(values, new, out=new)
    with np.errstate(over="ignore"):  # what is not finite is named
        model: NDArray[Any] = new.astype("<f4")
    _require(np.isfinite(model), layout, piece, "is not finite")
    if facts.most_counted is not None:
        _require(_usable(values, model, layout, piece, facts), layout, piece, "becomes negative, or larger than 1e15")
    return model


def _usable(values: NDArray[Any], model: NDArray[Any], layout: Layout, piece: WordPiece, facts: SumFacts) -> NDArray[np.bool_]:
    """Tell of each value whether a network can compute with it.

    A variance near 0 may become a little less: what is summed are rounded differences, to float32 and to units of 2**-32 / n_k.
    """
    usable = np.ones(model.size, np.bool_)
    rounding = facts.num_updates / (2 * SCALE * facts.weight)
    for tensor in layout.tensors:
        first, last = ((position - piece.begin) // piece.dtype.itemsize for position in (tensor.begin, tensor.end))
        if first < piece.count and last > 0 and tensors.is_buffer(tensor.name):
            part = slice(max(first, 0), last)
            usable[part] = np.abs(model[part]) <= _LARGEST
            if tensor.name.endswith("running_var"):
                usable[part] &= model[part] >= -2 * np.spacing(np.abs(values[part])).astype(np.float64) - rounding
    return usable


def _require(good: NDArray[np.bool_], layout: Layout, piece: WordPiece, fault: str) -> None:
    if not good.all():
        tensor = tensor_at(layout, piece, int(np.argmin(good)))
        msg = f"tensor {tensor} of the global model {fault}, by the sum of the masked updates"
        raise TrustError(msg, hint=_HINT)

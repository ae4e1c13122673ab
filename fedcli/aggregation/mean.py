"""The weighted mean of FederatedAveraging (Algorithm 1, line 9), exact to the bit and in constant memory.

    S = Σ_k n_k · Δ_k        in float64, from +0.0, sites in bytewise order of their names
    φ(t) = float32(φ(t-1) + S / Σ n_k)

Multiplication and addition are two IEEE operations each element, without BLAS and without fused multiply-add; the products are
exact while n_k < 2**29. Integer buffers: φ(t-1) + floor(Σ n_k Δ_k / Σ n_k) in exact integers. So anyone can recompute φ(t) on any
machine, whatever the order in which the updates arrived.

Files are read block by block, one file open at a time, so that neither memory nor descriptors grow with the number of sites.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli import tensors
from fedcli.errors import TrustError
from fedcli.tensors import Measured, TensorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.tensors import Layout, Tensor

BLOCK = 1 << 20
"""Elements summed before the next file is opened: 8 MiB of float64."""
CHUNK = 1 << 17
"""Elements read at a time: 512 KiB of float32, which stay in the processor's cache."""


class NotFiniteError(TrustError):
    """An update holds NaN or infinity.

    Attributes:
        site: Whose.
    """

    def __init__(self, site: str, tensor: str) -> None:
        super().__init__(f"the update of {site} holds NaN or infinity in tensor {tensor}")
        self.site = site


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One site's share: its name, the file of its delta, and its weight n_k, the local steps."""

    site: str
    path: Path
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """Neighbouring data bytes of one dtype, `first` to one before `last`, the same in every file of a layout."""

    layout: Layout
    first: int
    last: int


def weighted_mean(base: Path, updates: Sequence[Update], target: Path) -> Measured:
    """Write φ(t) to a new file and return its size and digest.

    Args:
        base: φ(t-1), canonical safetensors of F32 and I64 tensors.
        updates: At least one; each delta has the base's layout, which the caller has checked.
        target: Where φ(t) goes; flushed to the disk.

    Raises:
        NotFiniteError: An update is not finite.
        TrustError: The result is not finite, or the base holds a dtype that this rule does not know.
    """
    ordered = sorted(updates, key=lambda update: update.site.encode())
    total = sum(update.weight for update in ordered)
    with base.open("rb") as file:
        found = tensors.read_layout(file)
    hasher = hashlib.sha256(found.header)
    with target.open("xb") as out:
        out.write(found.header)
        for dtype, start, stop in _runs(found):
            rule = _RULES[dtype]
            for first in range(start, stop, BLOCK * tensors.DTYPE_BYTES[dtype]):
                last = min(first + BLOCK * tensors.DTYPE_BYTES[dtype], stop)
                data = rule(_Block(layout=found, first=first, last=last), base, ordered, total).tobytes()
                hasher.update(data)
                out.write(data)
        out.flush()
        os.fsync(out.fileno())
    return Measured(size=found.size, sha256=hasher.hexdigest())


def _floats(block: _Block, base: Path, updates: Sequence[Update], total: int) -> NDArray[np.float32]:
    """Return φ(t) in a block of float32."""
    sums = np.zeros((block.last - block.first) // 4, np.float64)
    product = np.empty(min(CHUNK, sums.size), np.float64)
    for update in updates:
        for begin, delta in _chunks(update.path, block, "<f4"):
            part = sums[begin : begin + delta.size]
            scaled = product[: delta.size]
            np.multiply(delta, np.float64(update.weight), out=scaled)
            np.add(part, scaled, out=part)
    if not np.isfinite(sums).all():  # neither NaN nor infinity ever leaves a sum again
        raise _culprit(block, updates)
    result = np.empty(sums.size, np.float32)
    np.divide(sums, np.float64(total), out=sums)
    with np.errstate(over="ignore"):
        for begin, previous in _chunks(base, block, "<f4"):
            part = sums[begin : begin + previous.size]
            np.add(previous, part, out=part)
            result[begin : begin + previous.size] = part
    if not np.isfinite(result).all():
        tensor = _tensor_at(block.layout, block.first + 4 * _first_bad(result))
        msg = f"the global model would not be finite in tensor {tensor.name}"
        raise TrustError(msg)
    return result


def _integers(block: _Block, base: Path, updates: Sequence[Update], total: int) -> NDArray[np.int64]:
    """Return φ(t) in a block of int64, by way of Python's exact integers."""
    sums = np.zeros((block.last - block.first) // 8, object)
    for update in updates:
        for begin, delta in _chunks(update.path, block, "<i8"):
            sums[begin : begin + delta.size] += delta.astype(object) * update.weight
    for begin, previous in _chunks(base, block, "<i8"):
        sums[begin : begin + previous.size] = previous.astype(object) + sums[begin : begin + previous.size] // total
    try:
        return sums.astype(np.int64)
    except OverflowError as error:
        names = [_tensor_at(block.layout, position).name for position in (block.first, block.last - 1)]
        msg = f"an integer buffer overflows, among {names[0]} to {names[1]}"
        raise TrustError(msg) from error


_RULES: dict[str, Callable[[_Block, Path, Sequence[Update], int], NDArray[Any]]] = {"F32": _floats, "I64": _integers}


def _runs(found: Layout) -> Iterator[tuple[str, int, int]]:
    """Yield (dtype, first byte, one past the last) of neighbouring tensors of one dtype."""
    current: tuple[str, int, int] | None = None
    for tensor in found.tensors:
        if tensor.dtype not in _RULES:
            msg = f"tensor {tensor.name}: {tensor.dtype} cannot be averaged, expected {' or '.join(_RULES)}"
            raise TensorError(msg)
        if current is not None and current[0] == tensor.dtype:
            current = (tensor.dtype, current[1], tensor.end)
            continue
        if current is not None:
            yield current
        current = (tensor.dtype, tensor.begin, tensor.end)
    if current is not None:
        yield current


def _chunks(path: Path, block: _Block, dtype: str) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (position in the block, elements) of a file's block; the array is reused."""
    kind = np.dtype(dtype)
    buffer = np.empty(min(CHUNK, (block.last - block.first) // kind.itemsize), kind)
    header = len(block.layout.header)
    with path.open("rb", buffering=0) as file:
        for position in range(block.first, block.last, CHUNK * kind.itemsize):
            part = buffer[: min(CHUNK, (block.last - position) // kind.itemsize)]
            view = part.data.cast("B")
            done = 0
            while done < len(view):
                count = os.preadv(file.fileno(), [view[done:]], header + position + done)
                if not count:
                    msg = f"{path.name}: cut off after {header + position + done} bytes, expected {block.layout.size}"
                    raise TensorError(msg)
                done += count
            yield (position - block.first) // kind.itemsize, part


def _culprit(block: _Block, updates: Sequence[Update]) -> NotFiniteError:
    for update in updates:
        for begin, delta in _chunks(update.path, block, "<f4"):
            if not np.isfinite(delta).all():
                return NotFiniteError(update.site, _tensor_at(block.layout, block.first + 4 * (begin + _first_bad(delta))).name)
    msg = "a sum of finite products is not finite"
    raise AssertionError(msg)


def _first_bad(values: NDArray[Any]) -> int:
    return int(np.argmin(np.isfinite(values)))


def _tensor_at(found: Layout, position: int) -> Tensor:
    return next(tensor for tensor in found.tensors if tensor.begin <= position < tensor.end)

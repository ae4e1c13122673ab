"""Canonical safetensors files, read and written without torch.

The format is that of safetensors (an 8-byte little-endian header length, a JSON header, the data), restricted so that the same
tensors are the same bytes everywhere: no `__metadata__`; tensors ordered by the alignment of their dtype (largest first), then by
name; compact JSON, padded with spaces to 8 bytes; data without gaps. A header that is not exactly the canonical header of the
tensors that it lists is refused, which excludes wrong offsets, overlaps and sizes.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fedcli import disk
from fedcli.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]
    """A state dict in memory: tensors by name."""

MAX_HEADER_BYTES = 16 << 20
MAX_DIMENSIONS = 32

DTYPE_BYTES = {
    "U64": 8, "I64": 8, "F64": 8,
    "U32": 4, "I32": 4, "F32": 4,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U8": 1, "I8": 1, "BOOL": 1,
}  # fmt: skip
NUMPY_DTYPES = {
    "U64": "<u8", "I64": "<i8", "F64": "<f8",
    "U32": "<u4", "I32": "<i4", "F32": "<f4",
    "U16": "<u2", "I16": "<i2", "F16": "<f2",
    "U8": "u1", "I8": "i1", "BOOL": "?",
}  # fmt: skip

_BUFFERS = ("running_mean", "running_var")
_NAME = re.compile(r"(?!__metadata__$)[A-Za-z0-9_.:/-]{1,256}")


class TensorError(TrustError):
    """A file is not canonical safetensors, or does not hold the tensors that it must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One entry of a header.

    Attributes:
        name: The tensor's name in the state dict.
        dtype: A safetensors dtype, such as F32 or I64.
        shape: The dimensions; empty for a scalar.
        begin: First byte, counted from the start of the data.
        end: One past the last byte.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a file holds and where: equal layouts mean equal names, dtypes, shapes and offsets.

    Attributes:
        tensors: The entries in the order of their data.
        header: The bytes before the data.
        size: Bytes of the whole file.
    """

    tensors: tuple[Tensor, ...]
    header: bytes
    size: int

    def difference(self, other: Layout) -> str:
        """Return in a few words how `other` differs from this layout; empty if it does not."""
        if self.header == other.header:
            return ""
        mine = {tensor.name: (tensor.dtype, tensor.shape) for tensor in self.tensors}
        theirs = {tensor.name: (tensor.dtype, tensor.shape) for tensor in other.tensors}
        if missing := sorted(mine.keys() - theirs.keys()):
            return f"{len(missing)} missing tensors, first {missing[0]}"
        if extra := sorted(theirs.keys() - mine.keys()):
            return f"{len(extra)} extra tensors, first {extra[0]}"
        for name, expected in mine.items():
            if theirs[name] != expected:
                dtype, shape = theirs[name]
                return f"tensor {name}: expected {expected[0]} {list(expected[1])}, found {dtype} {list(shape)}"
        return ""


def is_buffer(name: str) -> bool:
    """Tell by its name whether a float tensor is a buffer, measured by a normalisation layer, rather than a trained weight."""
    return name.endswith(_BUFFERS)


def layout(entries: Iterable[tuple[str, str, tuple[int, ...]]]) -> Layout:
    """Return the canonical layout of tensors given as (name, dtype, shape).

    Raises:
        TensorError: A name, dtype or shape cannot be stored, or a name is given twice.
    """
    ordered = sorted(entries, key=lambda entry: (-DTYPE_BYTES.get(entry[1], 0), entry[0]))
    tensors: list[Tensor] = []
    position = 0
    for name, dtype, shape in ordered:
        if not _NAME.fullmatch(name) or dtype not in DTYPE_BYTES or not _fits(shape, DTYPE_BYTES[dtype]):
            msg = f"tensor {name[:80]!r} of dtype {dtype!r} and shape {list(shape[: MAX_DIMENSIONS + 1])} cannot be stored"
            raise TensorError(msg)
        end = position + DTYPE_BYTES[dtype] * math.prod(shape)
        tensors.append(Tensor(name=name, dtype=dtype, shape=tuple(shape), begin=position, end=end))
        position = end
    entries_json = {
        tensor.name: {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [tensor.begin, tensor.end]}
        for tensor in tensors
    }
    if len(entries_json) != len(tensors):
        msg = "a tensor's name is given twice"
        raise TensorError(msg)
    text = json.dumps(entries_json, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        msg = f"the header has {len(text)} bytes, expected at most {MAX_HEADER_BYTES}"
        raise TensorError(msg)
    header = len(text).to_bytes(8, "little") + text
    return Layout(tensors=tuple(tensors), header=header, size=len(header) + position)


def layout_of(arrays: Arrays) -> Layout:
    """Return the canonical layout of arrays held in memory."""
    names = {np.dtype(value): key for key, value in NUMPY_DTYPES.items()}
    return layout(
        (name, names.get(array.dtype.newbyteorder("<"), str(array.dtype)), array.shape) for name, array in arrays.items()
    )


def read_layout(file: BinaryIO) -> Layout:
    """Read a file's header, leaving the position at its data.

    Raises:
        TensorError: The header is too long, cut off, not JSON, or not the canonical header of the tensors that it lists.
    """
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if not 0 < length <= MAX_HEADER_BYTES:
        msg = f"the safetensors header claims {length} bytes, expected 1 to {MAX_HEADER_BYTES}"
        raise TensorError(msg)
    return _layout_of_header(prefix + file.read(length))


@lru_cache(maxsize=4)
def _layout_of_header(header: bytes) -> Layout:
    """Return the layout that a header states; all files of a federation have one header, and parsing it takes 10 ms."""
    try:
        entries = json.loads(header[8:])
        stated = layout((name, entry["dtype"], tuple(map(_whole, entry["shape"]))) for name, entry in entries.items())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        msg = f"not a safetensors header: {type(error).__name__}"
        raise TensorError(msg) from error
    if stated.header != header:
        msg = "the safetensors header is not canonical: order, offsets or padding differ from those of the tensors listed"
        raise TensorError(msg)
    return stated


def write(path: Path, arrays: Arrays) -> disk.Measured:
    """Write arrays to a new file, flushed to the disk, and return its size and digest."""
    content = layout_of(arrays)
    blocks = (_little_endian(arrays[tensor.name]).tobytes() for tensor in content.tensors)
    measured = disk.write_blocks(path, chain([content.header], blocks))
    disk.sync(path)
    return measured


def read(path: Path) -> Arrays:
    """Read all tensors of a file into memory.

    Raises:
        TensorError: The file is not canonical, shorter or longer than its header says, or of a dtype that numpy lacks.
    """
    with path.open("rb") as file:
        content = read_layout(file)
        check_size(content, path)
        if unknown := sorted({tensor.dtype for tensor in content.tensors} - NUMPY_DTYPES.keys()):
            msg = f"{path.name}: tensors of dtype {unknown[0]} cannot be read here"
            raise TensorError(msg)
        return {
            item.name: np.frombuffer(bytearray(file.read(item.end - item.begin)), NUMPY_DTYPES[item.dtype]).reshape(item.shape)
            for item in content.tensors
        }


def check_size(content: Layout, path: Path) -> None:
    """Raise a TensorError if a file is not as long as its header says."""
    size = path.stat().st_size
    if size != content.size:
        msg = f"{path.name}: the header describes {content.size} bytes, the file has {size}"
        raise TensorError(msg)


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _fits(shape: tuple[int, ...], item_bytes: int) -> bool:
    """Tell whether an array of this shape can exist; numpy requires that an empty one would fit without its zero dimensions."""
    if len(shape) > MAX_DIMENSIONS or any(not 0 <= length < 1 << 63 for length in shape):
        return False
    return item_bytes * math.prod(length or 1 for length in shape) < 1 << 63


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def euclidean_norm(arrays: Arrays) -> float:
    """Return the norm of all float tensors together."""
    return math.sqrt(
        math.fsum(float(np.square(value, dtype=np.float64).sum()) for value in arrays.values() if value.dtype.kind == "f")
    )

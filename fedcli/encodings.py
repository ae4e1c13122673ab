"""How the numbers of an update are written: unchanged float32, bfloat16, or int8 with one scale per output channel.

    bfloat16    the upper 16 bits of float32, rounded to nearest, ties to even
    int8        q = rint(x / s) in float32, clipped to ±127; s = max |x| / 127 in float32 over an output channel (first axis);
                x' = q · s in float32; a channel of zeros has s = 0; `NAME` is then I8, and `NAME:scale` F32, one per channel

Only weights are encoded. BatchNorm's statistics always stay float32, so that no variance becomes negative, and integers stay as
they are. With int8, tensors of one dimension stay float32 too: biases and normalisation weights, in which every value would be a
channel of its own. An encoded file is canonical safetensors, and its layout follows from the model's layout and the encoding.
Only one tensor at a time is in memory.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fedcli import disk, tensors
from fedcli.plan import Encoding
from fedcli.tensors import TensorError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.disk import Measured
    from fedcli.tensors import Layout, Tensor

SCALE = ":scale"
_LARGEST = np.float32(127)
_DTYPES = {**tensors.NUMPY_DTYPES, "BF16": "<u2"}


def encoded_layout(plain: Layout, encoding: Encoding) -> Layout:
    """Return the layout of the encoded file of a delta with the given layout."""
    if encoding is Encoding.FLOAT32:
        return plain
    entries: list[tuple[str, str, tuple[int, ...]]] = []
    for tensor in plain.tensors:
        dtype = _encoded_dtype(tensor, encoding)
        entries.append((tensor.name, dtype, tensor.shape))
        if dtype == "I8":
            entries.append((tensor.name + SCALE, "F32", tensor.shape[:1]))
    return tensors.layout(entries)


def encode(source: Path, target: Path, encoding: Encoding) -> Measured:
    """Write a delta of finite float32, encoded, to a new file; a value outside the encoding's range becomes infinite."""
    with source.open("rb") as file:
        plain = _TensorFile(file)
        tensors.check_size(plain.layout, source)
        encoded = encoded_layout(plain.layout, encoding)
        blocks = (_encoded(plain, tensor).tobytes() for tensor in encoded.tensors)
        return disk.write_blocks(target, chain([encoded.header], blocks))


def decode(source: Path, target: Path, plain: Layout, encoding: Encoding) -> Measured:
    """Write an encoded delta as float32 to a new file; aggregation checks that its values are finite.

    Args:
        source: The encoded file.
        target: The new file.
        plain: The layout of the federation's models, which the decoded delta has.
        encoding: How the file is encoded.

    Raises:
        TensorError: The file's layout is not the one that follows from the model's layout and the encoding.
    """
    with source.open("rb") as file:
        encoded = _TensorFile(file)
        tensors.check_size(encoded.layout, source)
        if difference := encoded_layout(plain, encoding).difference(encoded.layout):
            msg = f"{source.name}: not the federation's model in {encoding}: {difference}"
            raise TensorError(msg)
        blocks = (_decoded(encoded, tensor).tobytes() for tensor in plain.tensors)
        return disk.write_blocks(target, chain([plain.header], blocks))


class _TensorFile:
    """A file of tensors, from which they are read one by one."""

    def __init__(self, file: BinaryIO) -> None:
        self.layout = tensors.read_layout(file)
        self.places = {tensor.name: tensor for tensor in self.layout.tensors}
        self._file = file

    def read(self, name: str) -> NDArray[Any]:
        tensor = self.places[name]
        self._file.seek(len(self.layout.header) + tensor.begin)
        data = self._file.read(tensor.end - tensor.begin)
        values: NDArray[Any] = np.frombuffer(data, _DTYPES[tensor.dtype]).reshape(tensor.shape)
        return values


def _encoded_dtype(tensor: Tensor, encoding: Encoding) -> str:
    if tensor.dtype != "F32" or tensors.is_buffer(tensor.name) or encoding is Encoding.FLOAT32:
        return tensor.dtype
    if encoding is Encoding.BFLOAT16:
        return "BF16"
    return "I8" if len(tensor.shape) > 1 else "F32"


def _encoded(plain: _TensorFile, wanted: Tensor) -> NDArray[Any]:
    if wanted.name not in plain.places:
        return _scales(plain.read(wanted.name.removesuffix(SCALE)))
    values = plain.read(wanted.name)
    if wanted.dtype == plain.places[wanted.name].dtype:
        return values
    if wanted.dtype == "BF16":
        bits = values.view("<u4")
        upper: NDArray[np.uint16] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
        return upper
    scales = _along_channels(_scales(values), values.ndim)
    quotients = np.divide(values, scales, out=np.zeros_like(values), where=scales > 0)
    levels: NDArray[np.int8] = np.clip(np.rint(quotients), -_LARGEST, _LARGEST).astype(np.int8)
    return levels


def _decoded(encoded: _TensorFile, wanted: Tensor) -> NDArray[Any]:
    values = encoded.read(wanted.name)
    dtype = encoded.places[wanted.name].dtype
    if dtype == wanted.dtype:
        return values
    if dtype == "BF16":
        return (values.astype("<u4") << 16).view("<f4")
    scales = _along_channels(encoded.read(wanted.name + SCALE), values.ndim)
    with np.errstate(over="ignore", invalid="ignore"):
        decoded: NDArray[Any] = values.astype("<f4") * scales
    return decoded


def _scales(values: NDArray[np.float32]) -> NDArray[np.float32]:
    largest: NDArray[np.float32] = np.abs(values).max(axis=tuple(range(1, values.ndim)), initial=0)
    return largest / _LARGEST


def _along_channels(scales: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    return scales.reshape(-1, *(1,) * (dimensions - 1))

"""Lossless compression of a canonical safetensors file: bytes regrouped by their position in a number, then zstd, block by block.

The bytes of a float that hold sign and exponent are similar throughout a tensor; the others are noise. When the bytes are
regrouped (the first bytes of all numbers of a block, then all second bytes, …), zstd compresses the former and leaves the latter.
A packed file is

    MAGIC, then blocks: width u8 · size u32 · packed size u32, little-endian; one zstd frame of the regrouped bytes

where `width` is the number of bytes per number: 1 for the header, and that of the dtype for the data. A block holds 1 MiB, or the
rest of the header or of the tensors of one width. Every size and the number of blocks are bounded and compared before anything
is decompressed, and only one block is in memory.
"""

from __future__ import annotations

import struct
from itertools import groupby
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import zstandard

from fedcli import disk, tensors
from fedcli.tensors import TensorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.tensors import Layout

MAGIC = b"fedcli-packed@1\n"
BLOCK_BYTES = 1 << 20

_PARAMETERS = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_BTOPT, window_log=17, hash_log=10, chain_log=10, search_log=1, min_match=7, target_length=32
)
"""Exponents are skewed but repeat in no pattern: this strategy is used for its entropy tables, with little search."""
_BLOCK = struct.Struct("<BII")
_WIDTHS = frozenset({1, 2, 4, 8})
_RUNS = 1 + len(_WIDTHS)
"""The header, and the tensors of each width: only the last block of each is shorter than the others."""
_MAX_PACKED_BYTES = BLOCK_BYTES + BLOCK_BYTES // 128
"""Data that does not compress grows by a few bytes per 128 KiB."""


def pack(source: Path, target: Path) -> Measured:
    """Write a canonical safetensors file, packed, to a new file; return the packed file's size and digest."""
    with source.open("rb") as file:
        content = tensors.read_layout(file)
        tensors.check_size(content, source)
        file.seek(0)
        return disk.write_blocks(target, _packed(file, content))


def unpack(source: Path, target: Path, size: int) -> Measured:
    """Write the content of a packed file to a new file; return its size and digest.

    Args:
        source: The packed file.
        target: The new file, which never becomes longer than `size`.
        size: The size that the content must have.

    Raises:
        TensorError: The file is not packed in this way, or holds more or fewer bytes.
    """
    with source.open("rb") as file:
        return disk.write_blocks(target, _unpacked(source.name, file, size))


def _packed(file: BinaryIO, content: Layout) -> Iterator[bytes]:
    compressor = zstandard.ZstdCompressor(compression_params=_PARAMETERS)
    yield MAGIC
    widths = groupby(content.tensors, key=lambda tensor: tensors.DTYPE_BYTES[tensor.dtype])
    runs = [(1, len(content.header)), *((width, sum(item.end - item.begin for item in members)) for width, members in widths)]
    for width, length in runs:
        for position in range(0, length, BLOCK_BYTES):
            data = file.read(min(BLOCK_BYTES, length - position))
            frame = compressor.compress(_regrouped(data, width))
            yield _BLOCK.pack(width, len(data), len(frame))
            yield frame


def _unpacked(name: str, file: BinaryIO, size: int) -> Iterator[bytes]:
    if file.read(len(MAGIC)) != MAGIC:
        msg = f"{name}: not a packed file"
        raise TensorError(msg)
    left, blocks = size, 0
    while head := file.read(_BLOCK.size):
        blocks += 1
        if blocks > (most := size // BLOCK_BYTES + _RUNS):
            msg = f"{name}: more than {most} blocks, which {size} bytes do not need"
            raise TensorError(msg)
        data = _unpacked_block(name, file, head, left)
        left -= len(data)
        yield data
    if left:
        msg = f"{name}: the packed content has {size - left} bytes, expected {size}"
        raise TensorError(msg)


def _unpacked_block(name: str, file: BinaryIO, head: bytes, left: int) -> bytes:
    """Return a block's bytes, after checking every size that it states."""
    width, size, packed_size = _BLOCK.unpack(head) if len(head) == _BLOCK.size else (0, 0, 0)
    if width not in _WIDTHS or not 0 < size <= BLOCK_BYTES or size % width or packed_size > _MAX_PACKED_BYTES:
        msg = f"{name}: a block states {size} bytes in numbers of {width}, packed into {packed_size}, which is impossible"
        raise TensorError(msg)
    if size > left:
        msg = f"{name}: the packed content is at least {size - left} bytes longer than expected"
        raise TensorError(msg)
    frame = file.read(packed_size)
    try:
        stated = zstandard.get_frame_parameters(frame)
        if len(frame) != packed_size or stated.content_size != size:  # zstd would trust the frame and allocate the memory
            msg = f"{name}: a block's frame states {stated.content_size} bytes, expected {size}"
            raise TensorError(msg)
        data = zstandard.ZstdDecompressor().decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        msg = f"{name}: a block cannot be unpacked: {error}"
        raise TensorError(msg) from error
    if len(data) != size:
        msg = f"{name}: a block holds {len(data)} bytes, expected {size}"
        raise TensorError(msg)
    return _restored(data, width)


def _regrouped(data: bytes, width: int) -> bytes:
    return data if width == 1 else np.frombuffer(data, np.uint8).reshape(-1, width).T.tobytes()


def _restored(data: bytes, width: int) -> bytes:
    return data if width == 1 else np.frombuffer(data, np.uint8).reshape(width, -1).T.tobytes()

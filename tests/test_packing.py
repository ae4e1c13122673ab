"""Lossless packing: whatever was packed comes back, and whatever else a peer may write is refused before it costs anything."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from fedcli import disk, packing, tensors
from fedcli.tensors import TensorError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NAMES = st.text("abc.", min_size=1, max_size=4)
ARRAYS = arrays_of.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint16, np.int8]), arrays_of.array_shapes(min_dims=0, min_side=0)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packing")


def packed(folder: Path, arrays: dict[str, NDArray[Any]]) -> tuple[bytes, bytes]:
    """Return a file's content, and the same packed."""
    for name in ("plain", "packed"):
        (folder / name).unlink(missing_ok=True)
    tensors.write(folder / "plain", arrays)
    measured = packing.pack(folder / "plain", folder / "packed")
    assert measured == disk.measure(folder / "packed")
    return (folder / "plain").read_bytes(), (folder / "packed").read_bytes()


def unpacked(folder: Path, data: bytes, size: int) -> bytes:
    (folder / "arrived").write_bytes(data)
    (folder / "content").unlink(missing_ok=True)
    measured = packing.unpack(folder / "arrived", folder / "content", size)
    assert measured == disk.measure(folder / "content")
    return (folder / "content").read_bytes()


def refused(folder: Path, data: bytes, size: int, match: str) -> None:
    with pytest.raises(TensorError, match=match):
        unpacked(folder, data, size)
    assert (folder / "content").stat().st_size <= size


def block(content: bytes, frame: bytes | None = None, *, width: int = 1, size: int | None = None) -> bytes:
    frame = zstandard.compress(content) if frame is None else frame
    return struct.pack("<BII", width, len(content) if size is None else size, len(frame)) + frame


@given(arrays=st.dictionaries(NAMES, ARRAYS, max_size=4))
def test_whatever_is_packed_comes_back(folder: Path, arrays: dict[str, NDArray[Any]]) -> None:
    content, data = packed(folder, arrays)
    assert unpacked(folder, data, len(content)) == content


def test_a_file_of_many_blocks_comes_back(folder: Path) -> None:
    generator = np.random.default_rng(0)
    count = 3 * packing.BLOCK_BYTES // 4 + 7
    content, data = packed(
        folder, {"a": generator.standard_normal(count, np.float32), "b": np.arange(9), "c": np.ones(5, np.int8)}
    )
    assert unpacked(folder, data, len(content)) == content
    assert len(data) < 0.95 * len(content)


def test_the_bytes_of_a_number_are_regrouped_as_documented(folder: Path) -> None:
    """Another program can unpack the file from the module's docstring."""
    values = np.arange(1000, dtype=np.float32)
    content, data = packed(folder, {"a": values})
    assert data.startswith(b"fedcli-packed@1\n")
    position, unpacked_bytes = 16, b""
    while position < len(data):
        width, size, length = struct.unpack_from("<BII", data, position)
        plain = zstandard.decompress(data[position + 9 : position + 9 + length])
        assert len(plain) == size
        unpacked_bytes += b"".join(plain[number :: size // width] for number in range(size // width))
        position += 9 + length
    assert unpacked_bytes == content


CONTENT = b"x" * 64
SKIPPABLE = struct.pack("<II", 0x184D2A50, 64) + CONTENT
UNSTATED = zstandard.ZstdCompressor(write_content_size=False).compress(CONTENT)
BOMB = zstandard.compress(bytes(1 << 24))
HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not a packed file"),
    "no magic": (block(CONTENT), "not a packed file"),
    "another version": (b"fedcli-packed@2\n" + block(CONTENT), "not a packed file"),
    "no block": (packing.MAGIC, "the packed content has 0 bytes, expected 64"),
    "fewer bytes": (packing.MAGIC + block(CONTENT[1:]), "the packed content has 63 bytes, expected 64"),
    "one byte more": (packing.MAGIC + block(CONTENT + b"x"), "at least 1 bytes longer than expected"),
    "a block more": (packing.MAGIC + block(CONTENT) + block(b"x"), "at least 1 bytes longer"),
    "an empty block": (packing.MAGIC + block(CONTENT) + block(b""), "a block states 0 bytes"),
    "a trailing byte": (packing.MAGIC + block(CONTENT) + b"\0", "a block states 0 bytes"),
    "a byte behind the frame": (packing.MAGIC + block(CONTENT, zstandard.compress(CONTENT) + b"\0"), "cannot be unpacked"),
    "two frames": (packing.MAGIC + block(CONTENT, zstandard.compress(CONTENT[:32]) * 2), "frame states 32 bytes, expected 64"),
    "a frame twice": (packing.MAGIC + block(CONTENT, zstandard.compress(CONTENT) * 2), "cannot be unpacked"),
    "a frame that is cut off": (packing.MAGIC + block(CONTENT, zstandard.compress(CONTENT)[:-1]), "cannot be unpacked"),
    "a file that is cut off": ((packing.MAGIC + block(CONTENT))[:-1], "expected 64"),
    "no frame": (packing.MAGIC + block(CONTENT, b"no zstd"), "cannot be unpacked"),
    "an empty frame": (packing.MAGIC + block(CONTENT, b""), "cannot be unpacked"),
    "a skippable frame": (packing.MAGIC + block(CONTENT, SKIPPABLE), "expected 64"),
    "a frame of unstated size": (packing.MAGIC + block(CONTENT, UNSTATED), "expected 64"),
    "a frame that grows": (packing.MAGIC + block(CONTENT, BOMB), f"frame states {1 << 24} bytes, expected 64"),
    "a block that grows": (packing.MAGIC + block(CONTENT, BOMB, size=1 << 24), "which is impossible"),
    "a huge block": (packing.MAGIC + block(CONTENT, size=(1 << 32) - 1), "which is impossible"),
    "a huge frame": (packing.MAGIC + struct.pack("<BII", 1, 64, (1 << 32) - 1), "which is impossible"),
    "no width": (packing.MAGIC + block(CONTENT, width=0), "which is impossible"),
    "an odd width": (packing.MAGIC + block(CONTENT, width=3), "which is impossible"),
    "a part of a number": (packing.MAGIC + block(CONTENT[:63], width=2), "which is impossible"),
}


@pytest.mark.parametrize(("data", "match"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_pack_does_not_write_is_refused(folder: Path, data: bytes, match: str) -> None:
    refused(folder, data, len(CONTENT), match)


def test_no_more_blocks_than_the_content_needs(folder: Path) -> None:
    """300,000 blocks of one byte took 40 times as long as the bytes in one block, and held up every reader."""
    refused(folder, packing.MAGIC + block(b"x") * 300_000, 300_000, "more than 5 blocks, which 300000 bytes do not need")


def test_a_frame_that_lies_about_its_size_is_refused(folder: Path) -> None:
    """The frame says 64 bytes, as the block does, and holds 16 MiB; or says so and holds none."""
    honest = zstandard.compress(CONTENT)
    assert honest[4:6] == b"\x20\x40"  # one segment; content size 64 in one byte
    for stated in (63, 65):
        lying = honest[:5] + bytes([stated]) + honest[6:]
        refused(folder, packing.MAGIC + block(b"x" * stated, lying), stated, "cannot be unpacked")
    empty = zstandard.compress(b"")
    refused(folder, packing.MAGIC + block(CONTENT, empty), 64, "expected 64")


@given(position=st.integers(0), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unseen(folder: Path, position: int, bit: int) -> None:
    content, data = packed(folder, {"a": np.linspace(0, 1, 50, dtype=np.float32)})
    changed = bytearray(data)
    changed[position % len(data)] ^= 1 << bit
    try:
        result = unpacked(folder, bytes(changed), len(content))
    except TensorError:
        return
    assert len(result) == len(content)  # other numbers of the same size: the digest in the record tells


@given(length=st.integers(0))
def test_no_beginning_is_taken_for_the_whole(folder: Path, length: int) -> None:
    content, data = packed(folder, {"a": np.linspace(0, 1, 50, dtype=np.float32), "b": np.arange(3)})
    refused(folder, data[: length % len(data)], len(content), "packed|expected")

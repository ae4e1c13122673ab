"""Pictures of mammograms, and what is none."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fedcli.imaging import pictures
from fedcli.imaging.mammogram import ImageMetadata
from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

GREY_8 = np.random.default_rng(1).integers(0, 256, (37, 23)).astype(np.uint8)
GREY_16 = np.random.default_rng(2).integers(0, 65536, (37, 23)).astype(np.uint16)


def tiff(pixels: NDArray[Any], photometric: int, *, order: str = "<", rows: int | None = None, pages: int = 1) -> bytes:
    """Return an uncompressed TIFF of one strip a page, as its specification has it."""
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()  # type: ignore[arg-type]
    height, width = pixels.shape
    content = b"II*\0" if order == "<" else b"MM\0*"
    content += struct.pack(f"{order}I", 8 + len(data)) + data
    for page in range(pages):
        tags = (
            (256, 4, width), (257, 4, rows or height), (258, 3, pixels.dtype.itemsize * 8), (259, 3, 1), (262, 3, photometric),
            (273, 4, 8), (277, 3, 1), (278, 4, rows or height), (279, 4, len(data)),
        )  # fmt: skip
        directory = struct.pack(f"{order}H", len(tags))
        for tag, kind, value in tags:
            content_of = struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value)
            directory += struct.pack(f"{order}HHI", tag, kind, 1) + content_of
        following = len(content) + len(directory) + 4 if page < pages - 1 else 0
        content += directory + struct.pack(f"{order}I", following)
    return content


def pgm(pixels: NDArray[Any], greatest: int, between: bytes = b" ") -> bytes:
    height, width = pixels.shape
    header = between.join([b"P5", str(width).encode(), str(height).encode(), str(greatest).encode()])
    return header + b"\n" + pixels.astype("u1" if greatest < 256 else ">u2").tobytes()


def png(width: int, height: int, depth: int = 16, colour: int = 0) -> bytes:
    """Return a PNG whose header lies: it has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def encoded(pixels: NDArray[Any], ending: str) -> bytes:
    """Return a picture as another program, OpenCV, writes it."""
    done, content = cv2.imencode(ending, pixels)
    assert done
    return content.tobytes()


def refusal(tmp_path: Path, content: bytes) -> Reason:
    (tmp_path / "picture").write_bytes(content)
    with pytest.raises(RejectedError) as caught:
        pictures.read(tmp_path / "picture")
    return caught.value.reason


@pytest.mark.parametrize("pixels", [GREY_8, GREY_16], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("ending", [".png", ".tiff", ".pgm"])
def test_pixels_come_as_they_are_stored(pixels: NDArray[Any], ending: str, tmp_path: Path) -> None:
    (tmp_path / "no-ending").write_bytes(encoded(pixels, ending))
    mammogram = pictures.read(tmp_path / "no-ending")
    assert mammogram.pixels.dtype == pixels.dtype
    assert np.array_equal(mammogram.pixels, pixels)
    bits = pixels.dtype.itemsize * 8
    assert (mammogram.low, mammogram.high) == (0, 2**bits - 1)
    assert mammogram.metadata == ImageMetadata(rows=37, columns=23, bits=bits)


@pytest.mark.parametrize(
    ("pixels", "photometric", "order"),
    [(GREY_8, 0, "<"), (GREY_8, 0, ">"), (GREY_8, 1, ">"), (GREY_16, 0, "<"), (GREY_16, 1, "<"), (GREY_16, 1, ">")],
)
def test_where_white_is_zero_it_is_inverted(pixels: NDArray[Any], photometric: int, order: str, tmp_path: Path) -> None:
    (tmp_path / "picture.tif").write_bytes(tiff(pixels, photometric, order=order))
    read = pictures.read(tmp_path / "picture.tif").pixels
    assert np.array_equal(read, pixels if photometric else np.iinfo(pixels.dtype).max - pixels)


@pytest.mark.parametrize("between", [b" ", b"\n", b"\n# made by a scanner\n", b"\r\n", b"\n#\n# P5 1 1 1\n\t"])
def test_pgm_headers(between: bytes, tmp_path: Path) -> None:
    pixels = GREY_16 >> 4
    (tmp_path / "picture").write_bytes(pgm(pixels, 4095, between))
    mammogram = pictures.read(tmp_path / "picture")
    assert np.array_equal(mammogram.pixels, pixels)
    assert (mammogram.metadata.bits, mammogram.high) == (12, 4095)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.NOT_DICOM),
        (b"notes", Reason.NOT_DICOM),
        (b"P2 2 1 9 1 2", Reason.NOT_DICOM),
        (b"\x89PNG\r\n\x1a\n", Reason.UNDECODABLE),
        (b"II*\0", Reason.UNDECODABLE),
        (b"P5 2", Reason.UNDECODABLE),
        (b"P5 100000 100000 255\n", Reason.TOO_LARGE),
        (b"P5 4 0 255\n", Reason.CONTRADICTION),
        (b"P5 4 4 65536\n" + bytes(32), Reason.CONTRADICTION),
        (b"P5 4 4 255\n" + bytes(15), Reason.CONTRADICTION),
        (pgm(GREY_16, 4095), Reason.CONTRADICTION),
        (png(100_000, 100_000), Reason.TOO_LARGE),
        (png(9000, 9000), Reason.TOO_LARGE),
        (png(2**31 - 1, 2**31 - 1, 8), Reason.TOO_LARGE),
        (png(64, 64), Reason.UNDECODABLE),
        (png(64, 64, 8, colour=2), Reason.NOT_GREY),
        (png(64, 64, 8, colour=4), Reason.NOT_GREY),
        (png(64, 64, 1), Reason.NOT_GREY),
        (tiff(GREY_16, 1, rows=60_000), Reason.UNDECODABLE),
        (tiff(GREY_16, 1, rows=2_000_000_000), Reason.TOO_LARGE),
        (tiff(GREY_16, 1, pages=2), Reason.PAGES),
        (tiff(GREY_16.astype(np.uint32), 1), Reason.PICTURE_DEPTH),
        (tiff(GREY_16, 0, order=">"), Reason.UNDECODABLE),  # Pillow does not know it: better left out than upside down
        (tiff(GREY_8, 1)[:300], Reason.UNDECODABLE),
        (encoded(np.dstack([GREY_8] * 3), ".png"), Reason.NOT_GREY),
        (encoded(np.dstack([GREY_16] * 3), ".tiff"), Reason.NOT_GREY),
        (encoded(GREY_16, ".png")[:-300], Reason.UNDECODABLE),
    ],
)  # fmt: skip
def test_what_is_left_out(content: bytes, reason: Reason, tmp_path: Path) -> None:
    assert refusal(tmp_path, content) is reason


def test_a_palette_is_colour(tmp_path: Path) -> None:
    Image.fromarray(GREY_8).convert("P").save(tmp_path / "palette.png")
    assert refusal(tmp_path, (tmp_path / "palette.png").read_bytes()) is Reason.NOT_GREY


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), ending=st.sampled_from([".png", ".tiff", ".pgm"]))
def test_damage_is_rejected_or_gives_an_image_of_the_stated_size(data: st.DataObject, ending: str, tmp_path: Path) -> None:
    content = bytearray(encoded(GREY_16, ending))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(8, len(content))) :]
    (tmp_path / "damaged").write_bytes(content)
    try:
        mammogram = pictures.read(tmp_path / "damaged")
    except RejectedError:
        return
    assert mammogram.pixels.shape == (mammogram.metadata.rows, mammogram.metadata.columns)
    assert mammogram.pixels.max() <= mammogram.high

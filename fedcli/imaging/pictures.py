"""A PNG, TIFF or PGM file, as many public data sets use them → a `Mammogram`.

Grey values of 8 or 16 bits are taken as stored; white-is-zero TIFF is inverted. The size is checked before anything is decoded.
A picture does not state its patient, side and view: the label table must.
"""

from __future__ import annotations

import re
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fedcli.imaging.mammogram import MAX_IMAGE_PIXELS, ImageMetadata, Mammogram
from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"P5")
_GREY_MODES = ("L", "I;16", "I;16L", "I;16B")
_DEEP_MODES = ("I", "F", "I;16S", "I;16BS", "I;32", "I;32B", "I;32S", "I;32BS")
_PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO = 262, 0
_BITS_PER_SAMPLE = 258
_PGM_HEAD_BYTES = 1024
_PGM_HEADER = re.compile(rb"P5(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s")
"""Width, height and greatest value, with comments between them (netpbm's pgm(5))."""
_MAX_VALUE = 65535


def read(source: Path | BinaryIO) -> Mammogram:
    """Read one picture, from a file or a stream that can seek; only its size and depth are known besides its pixels.

    Raises:
        RejectedError: The file is not a picture (`Reason.NOT_DICOM`), not grey, not of 8 or 16 bits, or damaged.
    """
    try:
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
            return _read(file)
    except OSError as error:
        raise RejectedError(Reason.UNREADABLE) from error


def _read(file: BinaryIO) -> Mammogram:
    file.seek(0)
    head = file.read(_PGM_HEAD_BYTES)
    if not head.startswith(_SIGNATURES):
        raise RejectedError(Reason.NOT_DICOM)
    file.seek(0)
    try:
        pixels, bits = _pgm(file, head) if head.startswith(b"P5") else _picture(file)
    except (RejectedError, MemoryError):
        raise
    except Exception as error:  # Pillow has no error family of its own
        raise RejectedError(Reason.UNDECODABLE) from error
    rows, columns = pixels.shape
    metadata = ImageMetadata(rows=rows, columns=columns, bits=bits)
    return Mammogram(pixels=pixels, low=0, high=float((1 << bits) - 1), metadata=metadata)


def _picture(file: BinaryIO) -> tuple[NDArray[Any], int]:
    """Return the pixels of a PNG or TIFF file, and their bits."""
    from PIL import Image, TiffImagePlugin  # noqa: PLC0415 - archives without pictures start without it

    # Warnings quote the file, and Pillow's own limits are wider than ours.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(file, formats=("PNG", "TIFF"))
        except Image.DecompressionBombError as error:
            raise RejectedError(Reason.TOO_LARGE) from error
        with image:
            _refuse_size(*image.size)
            if image.mode in _DEEP_MODES:
                raise RejectedError(Reason.PICTURE_DEPTH)
            if image.mode not in _GREY_MODES:
                raise RejectedError(Reason.NOT_GREY)
            if getattr(image, "is_animated", False):
                raise RejectedError(Reason.PAGES)
            bits, white_is_zero = (8 if image.mode == "L" else 16), False
            if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode != "L":
                # Pillow inverts white-is-zero images only with 8 bits.
                white_is_zero = image.tag_v2.get(_PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
                bits = int(image.tag_v2.get(_BITS_PER_SAMPLE, (bits,))[0])
            pixels = np.asarray(image)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return (np.uint16((1 << bits) - 1) - pixels if white_is_zero else pixels), bits


def _pgm(file: BinaryIO, head: bytes) -> tuple[NDArray[Any], int]:
    """Return the pixels of a binary PGM file, and the bits that its greatest value needs."""
    header = _PGM_HEADER.match(head)
    if header is None:
        raise RejectedError(Reason.UNDECODABLE)
    width, height, greatest = map(int, header.groups())
    _refuse_size(width, height)
    if not 0 < greatest <= _MAX_VALUE:
        raise RejectedError(Reason.CONTRADICTION)
    dtype = np.dtype("u1" if greatest < 256 else ">u2")  # noqa: PLR2004 - one byte or two, big endian
    file.seek(header.end())
    content = file.read(width * height * dtype.itemsize)
    pixels = np.frombuffer(content[: len(content) // dtype.itemsize * dtype.itemsize], dtype)
    if pixels.size < width * height or pixels.max() > greatest:
        raise RejectedError(Reason.CONTRADICTION)
    return pixels.astype(dtype.newbyteorder("="), copy=False).reshape(height, width), greatest.bit_length()


def _refuse_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise RejectedError(Reason.CONTRADICTION)
    if width * height > MAX_IMAGE_PIXELS:
        raise RejectedError(Reason.TOO_LARGE)

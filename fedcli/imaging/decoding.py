"""How a file stores its pixels, checked, and from there to grey values (PS3.3 C.7.6.3, C.11.1; PS3.5 section 8).

Sizes are checked before anything is decoded, and values after it: what comes out lies within the range that is stated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.imaging.views import functional_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

MAX_FRAME_PIXELS = 1 << 26
"""Twice the largest film digitised at 43.5 micrometres."""
MAX_PIXELS = 1 << 31

_BITS_ALLOCATED = (8, 16, 32)
_LUT_BITS = (8, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How pixels are stored: within the caps, and without contradiction.

    Attributes:
        syntax: Transfer Syntax UID.
        rows: Rows (0028,0010).
        columns: Columns (0028,0011).
        frames: Number of Frames (0028,0008), 1 where it is absent.
        bits: Bits Stored (0028,0101).
        high_bit: High Bit (0028,0102).
        signed: Whether Pixel Representation (0028,0103) is two's complement.
        inverted: Whether Photometric Interpretation (0028,0004) is MONOCHROME1.
    """

    syntax: UID
    rows: int
    columns: int
    frames: int
    bits: int
    high_bit: int
    signed: bool
    inverted: bool

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value that the stored bits can express."""
        return (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) if self.signed else (0, (1 << self.bits) - 1)


def layout_of(dataset: Dataset) -> Layout:
    """Return how a data set stores its pixels.

    Raises:
        RejectedError: The image is not grey, states what cannot be, or exceeds a cap.
    """
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip()
    if dataset.get("SamplesPerPixel", 1) != 1 or photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        raise RejectedError(Reason.NOT_GREY)
    keywords = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
    values = [dataset.get(keyword) for keyword in keywords]
    if not all(isinstance(value, int) for value in values):
        raise RejectedError(Reason.CONTRADICTION)
    rows, columns, allocated, bits, representation = values
    frames = int(dataset.get("NumberOfFrames") or 1)
    high_bit = dataset.get("HighBit")
    high_bit = bits - 1 if high_bit is None else high_bit
    if min(rows, columns, frames, bits) < 1 or representation not in {0, 1}:
        raise RejectedError(Reason.CONTRADICTION)
    if allocated not in _BITS_ALLOCATED:
        raise RejectedError(Reason.DEPTH)
    if not bits <= high_bit + 1 <= allocated:
        raise RejectedError(Reason.CONTRADICTION)
    if rows * columns > MAX_FRAME_PIXELS or rows * columns * frames > MAX_PIXELS:
        raise RejectedError(Reason.TOO_LARGE)
    return Layout(
        syntax=_syntax(dataset),
        rows=rows,
        columns=columns,
        frames=frames,
        bits=bits,
        high_bit=high_bit,
        signed=bool(representation),
        inverted=photometric == "MONOCHROME1",
    )


def decode(file: BinaryIO, dataset: Dataset, layout: Layout) -> tuple[NDArray[Any], float, float]:
    """Return the middle frame's grey values, (rows, columns), and the ends of their range.

    Args:
        file: The open file, from which only this frame is read.
        dataset: Its header; with the pixel data, where those are deflated.
        layout: How the pixels are stored.

    Raises:
        RejectedError: There is no decoder, it fails, or values leave the stated range.
    """
    pixels = _frame(file, dataset, layout)
    low: float
    high: float
    low, high = layout.range
    _refuse_outside(pixels, low, high)
    if dataset.get("ModalityLUTSequence"):
        entry_bits = int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])
        if entry_bits not in _LUT_BITS:
            raise RejectedError(Reason.CONTRADICTION)
        pixels = apply_modality_lut(pixels, dataset)
        low, high = 0, (1 << entry_bits) - 1
        _refuse_outside(pixels, low, high)
    elif (rescale := _rescale(dataset, layout)) != (1, 0):
        slope, intercept = rescale
        pixels = pixels * np.float64(slope) + intercept
        low, high = sorted((low * slope + intercept, high * slope + intercept))
        if not (slope and math.isfinite(low) and math.isfinite(high)):
            raise RejectedError(Reason.CONTRADICTION)
    if layout.inverted:
        # low + high is 2^bits - 1 or, for signed values, -1: the pixels' own type holds it.
        pixels = np.subtract(pixels.dtype.type(low + high), pixels)
    return pixels, float(low), float(high)


def _syntax(dataset: Dataset) -> UID:
    if stated := dataset.file_meta.get("TransferSyntaxUID"):
        return UID(stated)
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _frame(file: BinaryIO, dataset: Dataset, layout: Layout) -> NDArray[Any]:
    try:
        available = get_decoder(layout.syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise RejectedError(Reason.UNSUPPORTED)
    # pydicom drops the bits above Bits Stored and extends the sign, but takes the lowest bit for bit 0.
    middle, top = layout.frames // 2, layout.high_bit + 1
    try:
        if "PixelData" in dataset:
            pixels = pixel_array(dataset, index=middle, bits_stored=top)
        else:
            pixels = pixel_array(file, index=middle, bits_stored=top, transfer_syntax_uid=layout.syntax)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # every decoder has errors of its own
        raise RejectedError(Reason.UNDECODABLE) from error
    if pixels.shape != (layout.rows, layout.columns) or pixels.dtype.kind not in "iu":
        raise RejectedError(Reason.CONTRADICTION)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return pixels >> (top - layout.bits) if top > layout.bits else pixels


def _rescale(dataset: Dataset, layout: Layout) -> tuple[float, float]:
    """Return slope and intercept (0028,1053), (0028,1052), of the whole file or of the middle frame's functional groups."""
    sources = [dataset]
    for group in functional_groups(dataset, layout.frames // 2):
        sources += group.get("PixelValueTransformationSequence") or ()
    for source in sources:
        if source.get("RescaleSlope") is not None:
            return float(source.RescaleSlope), float(source.get("RescaleIntercept") or 0)
    return 1.0, 0.0


def _refuse_outside(pixels: NDArray[Any], low: float, high: float) -> None:
    if pixels.min() < low or pixels.max() > high:
        raise RejectedError(Reason.CONTRADICTION)

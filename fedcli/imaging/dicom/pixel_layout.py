"""How a file stores its pixels (PS3.3 C.7.6.3); contradictions and sizes are checked before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.imaging.mammogram import MAX_IMAGE_PIXELS
from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_PIXELS = 1 << 31

_OPPOSITE_SHAPE = {"MONOCHROME1": "IDENTITY", "MONOCHROME2": "INVERSE"}
_BITS_ALLOCATED = (8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelLayout:
    """How pixels are stored: within the size limits, and without contradiction.

    Attributes:
        rows: Rows (0028,0010).
        columns: Columns (0028,0011).
        frames: Number of Frames (0028,0008), 1 where it is absent.
        allocated: Bits Allocated (0028,0100).
        bits: Bits Stored (0028,0101).
        high_bit: High Bit (0028,0102).
        signed: Whether Pixel Representation (0028,0103) is two's complement.
        inverted: Whether Photometric Interpretation (0028,0004) is MONOCHROME1.
        contradictory: Whether Presentation LUT Shape (2050,0020) says the opposite (PS3.3 C.8.11.3.1.2).
    """

    rows: int
    columns: int
    frames: int
    allocated: int
    bits: int
    high_bit: int
    signed: bool
    inverted: bool
    contradictory: bool

    def range_of(self, bits: int) -> tuple[int, int]:
        """Return the smallest and largest value that so many bits can express."""
        return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if self.signed else (0, (1 << bits) - 1)

    @property
    def frame_bytes(self) -> int:
        """Size of one uncompressed frame."""
        return self.rows * self.columns * self.allocated // 8


def layout_of(dataset: Dataset) -> PixelLayout:
    """Return how a data set stores its pixels.

    Raises:
        RejectedError: The image is not grey, its attributes contradict one another, or it exceeds a size limit.
    """
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip()
    if not photometric:
        raise RejectedError(Reason.CONTRADICTION)
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
    if rows * columns > MAX_IMAGE_PIXELS or rows * columns * frames > MAX_PIXELS:
        raise RejectedError(Reason.TOO_LARGE)
    return PixelLayout(
        rows=rows,
        columns=columns,
        frames=frames,
        allocated=allocated,
        bits=bits,
        high_bit=high_bit,
        signed=bool(representation),
        inverted=photometric == "MONOCHROME1",
        contradictory=str(dataset.get("PresentationLUTShape") or "").strip().upper() == _OPPOSITE_SHAPE[photometric],
    )

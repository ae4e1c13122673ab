"""From a file's pixel data to stored values (PS3.3 C.7.6.3; PS3.5 section 8): frame by frame.

The values are within the range that the stored bits can express. Other bits are dropped where they extend the sign or hold an
overlay; otherwise the file is rejected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.encaps import generate_frames, get_frame
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from fedcli.imaging.dicom.decoders import samples_of
from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fedcli.imaging.dicom.header import Header
    from fedcli.imaging.dicom.pixel_layout import PixelLayout

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
"""The transfer syntaxes whose pixels are not compressed, or only together with the whole data set."""


def stored_frames(header: Header, layout: PixelLayout, frames: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Yield the stored values of one frame, or of all frames in one pass over the file: integers, (rows, columns).

    Args:
        header: The header, of a supported transfer syntax; the pixels are encapsulated if it is a compressed one.
        layout: How the pixels are stored.
        frames: One frame, counted from 0, or all.

    Raises:
        RejectedError: No decoder succeeds, or the decoded pixels contradict the header.
    """
    if len(frames) == 1:
        yield _stored(_frame(header, layout, frames[0]), header, layout)
        return
    for frame in _frames(header, layout):
        yield _stored(frame, header, layout)


def _frame(header: Header, layout: PixelLayout, index: int) -> NDArray[Any]:
    if header.length is not None:
        return _native(header, layout, index)
    header.stream.seek(header.start)
    try:
        encoded = get_frame(header.stream, index, extended_offsets=_offsets(header), number_of_frames=layout.frames)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # pydicom raises many kinds for broken fragments
        raise RejectedError(_fragment_defect(header)) from error
    return samples_of(encoded, header.syntax, layout)


def _frames(header: Header, layout: PixelLayout) -> Iterator[NDArray[Any]]:
    """Yield every frame in one pass over the file."""
    if header.length is not None:
        yield from (_native(header, layout, index) for index in range(layout.frames))
        return
    header.stream.seek(header.start)
    encoded = generate_frames(header.stream, extended_offsets=_offsets(header), number_of_frames=layout.frames)
    for _ in range(layout.frames):
        try:
            frame = next(encoded, None)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # pydicom raises many kinds for broken fragments
            raise RejectedError(_fragment_defect(header)) from error
        if frame is None:
            raise RejectedError(Reason.CONTRADICTION)
        yield samples_of(frame, header.syntax, layout)


def _native(header: Header, layout: PixelLayout, index: int) -> NDArray[Any]:
    """Read an uncompressed frame directly into its array."""
    if header.length is None or header.length < layout.frame_bytes * layout.frames:
        raise RejectedError(Reason.CONTRADICTION)
    samples = np.empty(layout.frame_bytes, np.uint8)
    header.stream.seek(header.start + index * layout.frame_bytes)
    if header.stream.readinto(samples) != samples.size:  # type: ignore[attr-defined]
        raise RejectedError(Reason.TRUNCATED)
    if header.big and header.words and layout.allocated == 8:  # noqa: PLR2004 - bits; the two bytes of each word are swapped
        if layout.frame_bytes % 2:
            raise RejectedError(Reason.UNDECODABLE)
        samples = samples.view(np.uint16).byteswap(inplace=True).view(np.uint8)
    kind = f"{'>' if header.big else '<'}{'i' if layout.signed else 'u'}{layout.allocated // 8}"
    return samples.view(kind).reshape(layout.rows, layout.columns)


def _stored(samples: NDArray[Any], header: Header, layout: PixelLayout) -> NDArray[Any]:
    """Drop the bits above High Bit and below the stored ones, extend the sign, and check the range."""
    if samples.shape != (layout.rows, layout.columns) or samples.dtype.kind not in "iu":
        raise RejectedError(Reason.CONTRADICTION)
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    top = layout.high_bit + 1
    spare = samples.dtype.itemsize * 8 - top
    if spare > 0 and (header.length is not None or header.syntax == RLELossless) and not _within(samples, top, layout):
        if not _has_overlay_bits(header) and not (layout.signed and set(np.unique(samples >> top).tolist()) <= {0, -1}):
            raise RejectedError(Reason.SPARE_BITS)
        samples = (samples << spare) >> spare
    if top > layout.bits:
        samples = samples >> (top - layout.bits)
    if not _within(samples, layout.bits, layout):
        raise RejectedError(Reason.CONTRADICTION)
    return samples


def _has_overlay_bits(header: Header) -> bool:
    """Tell whether bits above or below the stored ones hold an overlay: Overlay Bit Position (60xx,0102) is not 0."""
    return any(header.dataset.get((group, 0x0102)) and header.dataset[group, 0x0102].value for group in range(0x6000, 0x6020, 2))


def _within(samples: NDArray[Any], bits: int, layout: PixelLayout) -> bool:
    low, high = layout.range_of(bits)
    return bool(samples.min() >= low and samples.max() <= high)


def _offsets(header: Header) -> tuple[bytes, bytes] | None:
    """Return the Extended Offset Table (7FE0,0001) and its lengths (7FE0,0002)."""
    offsets, lengths = (header.dataset.get(f"ExtendedOffsetTable{kind}") for kind in ("", "Lengths"))
    return (offsets, lengths) if offsets and lengths else None


def _fragment_defect(header: Header) -> Reason:
    """Distinguish a file that ends within its fragments from one whose fragments are malformed."""
    return Reason.UNDECODABLE if header.stream.read(1) else Reason.TRUNCATED

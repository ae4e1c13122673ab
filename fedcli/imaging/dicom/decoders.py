"""The decoders of each transfer syntax, the fastest first by `benchmarks/prepare`; pydicom's own come last.

Each takes one encoded frame and returns its samples, (rows, columns), in the integer type that the codec chooses. Size and end of
a codestream (ITU-T T.81 annex B, T.87 annex C, T.800 annex A) are checked first: a codec allocates as much memory as the
codestream demands, and some codecs silently fill in a missing end.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from fedcli.imaging.dicom.pixel_layout import PixelLayout

    Decoder = Callable[[bytes, PixelLayout], NDArray[Any]]


def jpeg(encoded: bytes, _layout: PixelLayout) -> NDArray[Any]:
    """Decode JPEG Baseline, Extended or Lossless with libjpeg-turbo."""
    return np.asarray(imagecodecs.jpeg8_decode(encoded))


def jpeg_ls(encoded: bytes, _layout: PixelLayout) -> NDArray[Any]:
    """Decode JPEG-LS with CharLS."""
    return np.asarray(imagecodecs.jpegls_decode(encoded))


def jpeg_2000(encoded: bytes, _layout: PixelLayout) -> NDArray[Any]:
    """Decode JPEG 2000 or HTJ2K with OpenJPEG, in one thread: other processors decode other files."""
    return np.asarray(imagecodecs.jpeg2k_decode(encoded, numthreads=1))


def htj2k(encoded: bytes, _layout: PixelLayout) -> NDArray[Any]:
    """Decode HTJ2K with OpenJPH."""
    return np.asarray(imagecodecs.htj2k_decode(encoded))


def run_length(encoded: bytes, layout: PixelLayout) -> NDArray[Any]:
    """Decode RLE (PS3.5 annex G) into exactly as many bytes as the frame has."""
    kind = f"<u{layout.allocated // 8}"
    decoded = imagecodecs.dicomrle_decode(encoded, kind, out=bytearray(layout.frame_bytes))
    return np.frombuffer(decoded, kind).reshape(layout.rows, layout.columns)


DECODERS: Mapping[uid.UID, tuple[Decoder, ...]] = {
    uid.RLELossless: (run_length,),
    uid.JPEGBaseline8Bit: (jpeg,),
    uid.JPEGExtended12Bit: (jpeg,),
    uid.JPEGLossless: (jpeg,),
    uid.JPEGLosslessSV1: (jpeg,),
    uid.JPEGLSLossless: (jpeg_ls,),
    uid.JPEGLSNearLossless: (jpeg_ls,),
    uid.JPEG2000Lossless: (jpeg_2000,),
    uid.JPEG2000: (jpeg_2000,),
    uid.HTJ2KLossless: (htj2k, jpeg_2000),
    uid.HTJ2KLosslessRPCL: (htj2k, jpeg_2000),
    uid.HTJ2K: (htj2k, jpeg_2000),
}


def samples_of(encoded: bytes, syntax: uid.UID, layout: PixelLayout) -> NDArray[Any]:
    """Decode a compressed frame with the first decoder that succeeds.

    Raises:
        RejectedError: The codestream is truncated or has another size than the header says, or no decoder succeeds.
    """
    if syntax != uid.RLELossless:
        if not is_complete(encoded):
            raise RejectedError(Reason.TRUNCATED)
        if size_of(encoded) not in {None, (layout.rows, layout.columns)}:
            raise RejectedError(Reason.CONTRADICTION)
    # A codestream may omit that its values are signed, or claim it of unsigned ones: pydicom knows the cases.
    for decoder in () if layout.signed else DECODERS[syntax]:
        try:
            samples = decoder(encoded, layout)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001, S112 - every codec has its own errors, and the next decoder may succeed
            continue
        if samples.dtype.kind == "u":
            return samples
    return _decode_with_pydicom(encoded, syntax, layout)


def _decode_with_pydicom(encoded: bytes, syntax: uid.UID, layout: PixelLayout) -> NDArray[Any]:
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "bits_allocated": layout.allocated,
        "bits_stored": layout.high_bit + 1,
        "pixel_representation": int(layout.signed),
        "photometric_interpretation": "MONOCHROME2",
        "pixel_keyword": "PixelData",
    }
    try:
        return get_decoder(syntax).as_array(encapsulate([encoded], has_bot=False), index=0, raw=True, **options)[0]
    except MemoryError:
        raise
    except Exception as error:  # every plug-in has its own errors
        raise RejectedError(Reason.UNDECODABLE) from error


_END = b"\xff\xd9"
"""The end marker of all these formats; an item of odd length is padded after it."""
_END_BYTES = 32
_J2K = b"\xff\x4f\xff\x51"
_JPEG = b"\xff\xd8"
# Start of frame: SOF0 to SOF15 except DHT, JPG and DAC, and SOF55 of JPEG-LS.
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def is_complete(encoded: bytes) -> bool:
    """Tell whether the codestream reaches its end marker."""
    return _END in encoded.rstrip(b"\0")[-_END_BYTES:]


def size_of(encoded: bytes) -> tuple[int, int] | None:
    """Return rows and columns, or None where the beginning of the codestream is not as expected."""
    try:
        if encoded.startswith(_J2K):
            right, bottom, left, top = struct.unpack_from(">4I", encoded, 8)
            return bottom - top, right - left
        return _size_of_jpeg(encoded) if encoded.startswith(_JPEG) else None
    except (struct.error, IndexError):
        return None


def _size_of_jpeg(encoded: bytes) -> tuple[int, int] | None:
    position = 2
    while encoded[position] == 0xFF:  # noqa: PLR2004 - the first byte of every marker
        kind = encoded[position + 1]
        if kind in _START_OF_FRAME:
            rows, columns = struct.unpack_from(">2H", encoded, position + 5)
            return rows, columns
        # Any number of fill bytes may precede a marker.
        position += 1 if kind == 0xFF else 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")  # noqa: PLR2004
    return None

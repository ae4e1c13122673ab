"""The decoders of each transfer syntax, the fastest first as `benchmarks/prepare` measures them; pydicom's own come last.

Each takes one frame as the file holds it and returns its samples, (rows, columns), of whatever integer type the codec chose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from fedcli.imaging.dicom import codestream
from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from fedcli.imaging.dicom.pixel_layout import Layout

    Decoder = Callable[[bytes, Layout], NDArray[Any]]


def jpeg(encoded: bytes, _layout: Layout) -> NDArray[Any]:
    """Decode JPEG Baseline, Extended or Lossless by libjpeg-turbo."""
    return np.asarray(imagecodecs.jpeg8_decode(encoded))


def jpeg_ls(encoded: bytes, _layout: Layout) -> NDArray[Any]:
    """Decode JPEG-LS by CharLS."""
    return np.asarray(imagecodecs.jpegls_decode(encoded))


def jpeg_2000(encoded: bytes, _layout: Layout) -> NDArray[Any]:
    """Decode JPEG 2000 or HTJ2K by OpenJPEG, in one thread: the other processors have files of their own."""
    return np.asarray(imagecodecs.jpeg2k_decode(encoded, numthreads=1))


def htj2k(encoded: bytes, _layout: Layout) -> NDArray[Any]:
    """Decode HTJ2K by OpenJPH."""
    return np.asarray(imagecodecs.htj2k_decode(encoded))


def run_length(encoded: bytes, layout: Layout) -> NDArray[Any]:
    """Decode RLE (PS3.5 annex G) into as many bytes as the frame has, and no more."""
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


def samples_of(encoded: bytes, syntax: uid.UID, layout: Layout) -> NDArray[Any]:
    """Decode a compressed frame by the first decoder that can.

    Raises:
        RejectedError: The codestream is cut off or has another size, or no decoder succeeds.
    """
    if syntax != uid.RLELossless:
        if not codestream.is_complete(encoded):
            raise RejectedError(Reason.TRUNCATED)
        if codestream.size_of(encoded) not in {None, (layout.rows, layout.columns)}:
            raise RejectedError(Reason.CONTRADICTION)
    # Codestreams need not say that values are signed, and may say so of values that are not: pydicom knows the cases.
    for decoder in () if layout.signed else DECODERS[syntax]:
        try:
            samples = decoder(encoded, layout)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001, S112 - every codec has errors of its own, and the next one may do better
            continue
        if samples.dtype.kind == "u":
            return samples
    return _by_pydicom(encoded, syntax, layout)


def _by_pydicom(encoded: bytes, syntax: uid.UID, layout: Layout) -> NDArray[Any]:
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
    except Exception as error:  # every plug-in has errors of its own
        raise RejectedError(Reason.UNDECODABLE) from error

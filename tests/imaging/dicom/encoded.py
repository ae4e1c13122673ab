"""The same pixels in every transfer syntax that mammograms come in, written as real files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate

from tests.imaging.conftest import _write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian)
ENCODERS: Mapping[uid.UID, Callable[[NDArray[Any], int], bytes]] = {
    uid.JPEGLossless: lambda pixels, bits: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=4, bitspersample=bits),
    uid.JPEGLosslessSV1: lambda pixels, bits: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits),
    uid.JPEGLSLossless: lambda pixels, _bits: imagecodecs.jpegls_encode(pixels),
    uid.JPEG2000Lossless: lambda pixels, bits: imagecodecs.jpeg2k_encode(
        pixels, codecformat="j2k", reversible=True, level=0, bitspersample=bits
    ),
    uid.HTJ2KLossless: lambda pixels, _bits: imagecodecs.htj2k_encode(pixels, reversible=True),
}
LOSSLESS = (*NATIVE, uid.RLELossless, *ENCODERS)


def write_encoded(path: Path, pixels: NDArray[Any], syntax: uid.UID, **attributes: Any) -> Path:
    """Write `pixels`, (rows, columns) or (frames, rows, columns), without loss."""
    if syntax in NATIVE:
        return _write(path, pixels, syntax=syntax, **attributes)
    _write(path, pixels, **attributes)
    dataset = pydicom.dcmread(path)
    if syntax == uid.RLELossless:
        dataset.compress(syntax, generate_instance_uid=False)
    else:
        frames = pixels if pixels.ndim == 3 else pixels[None]
        dataset.PixelData = encapsulate([bytes(ENCODERS[syntax](frame, dataset.BitsStored)) for frame in frames])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    return path

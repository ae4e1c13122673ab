"""From stored values to modality values: Pixel Padding (PS3.3 C.7.5.1.1.2), Modality LUT and rescale (C.11.1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydicom.pixels.processing import apply_modality_lut

from fedcli.imaging.dicom.header import items_of_frame
from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_LUT_BITS = (8, 16)


def padding_of(pixels: NDArray[Any], dataset: Dataset) -> NDArray[np.bool_] | None:
    """Return where the image is padded: Pixel Padding Value (0028,0120) to Range Limit (0028,0121); None for nowhere.

    Raises:
        RejectedError: The whole image is padding, or the padding values are not integers.
    """
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    limit = value if limit is None else limit
    if not (isinstance(value, int) and isinstance(limit, int)):
        raise RejectedError(Reason.CONTRADICTION)
    low, high = sorted((value, limit))
    if high < pixels.min() or low > pixels.max():
        return None
    mask: NDArray[np.bool_] = (pixels >= low) & (pixels <= high)
    if mask.all():
        raise RejectedError(Reason.BLANK)
    return mask if mask.any() else None


def rescale_of(dataset: Dataset, frame: int) -> tuple[float, float]:
    """Return slope and intercept (0028,1053), (0028,1052), of the whole file or of a frame's functional groups.

    Raises:
        RejectedError: The slope is 0, or one of them is not finite.
    """
    for source in (dataset, *items_of_frame(dataset, frame, "PixelValueTransformationSequence")):
        if source.get("RescaleSlope") is not None:
            slope, intercept = float(source.RescaleSlope), float(source.get("RescaleIntercept") or 0)
            if not slope or not math.isfinite(slope) or not math.isfinite(intercept):
                raise RejectedError(Reason.CONTRADICTION)
            return slope, intercept
    return 1.0, 0.0


def has_lut(dataset: Dataset) -> bool:
    """Tell whether a Modality LUT Sequence (0028,3000) replaces the rescale."""
    return bool(dataset.get("ModalityLUTSequence"))


def apply_lut(pixels: NDArray[Any], dataset: Dataset) -> tuple[NDArray[Any], int]:
    """Return the pixels after the Modality LUT, and the largest value that it can hold.

    Raises:
        RejectedError: Its entries have neither 8 nor 16 bits, or exceed them, or the pixels are not integers.
    """
    bits = int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])
    if bits not in _LUT_BITS or pixels.dtype.kind == "f":
        raise RejectedError(Reason.CONTRADICTION)
    values = apply_modality_lut(pixels, dataset)
    largest = (1 << bits) - 1
    if values.min() < 0 or values.max() > largest:
        raise RejectedError(Reason.CONTRADICTION)
    return values, largest

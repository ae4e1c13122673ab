"""A mammogram's grey values → size × size in [0, 1], as uint16 fixed point (65535 is 1).

Every output pixel is the mean of the area that it covers (OpenCV's INTER_AREA); where an image is smaller than the output, in
either direction, OpenCV interpolates linearly instead. The minimum and maximum are those of the full resolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.plan import Aspect, Images, Intensity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.imaging.dicom import Mammogram

SCALE = 65535

_MIN_LEVELS = 1 << 12
_RESIZABLE = ("uint8", "uint16", "int16")


def to_square(mammogram: Mammogram, images: Images) -> NDArray[np.uint16]:
    """Return the image as the plan wants it, (size, size).

    Raises:
        RejectedError: All pixels are equal, so that nothing can be seen.
    """
    pixels = mammogram.pixels
    low, high = float(pixels.min()), float(pixels.max())
    if low == high:
        raise RejectedError(Reason.BLANK)
    if images.intensity is Intensity.STORED_RANGE:
        low, high = mammogram.low, mammogram.high
    resized = cv2.resize(_resizable(pixels, high - low), _extent(pixels, images), interpolation=cv2.INTER_AREA)
    fixed = np.rint((resized.astype(np.float64) - low) * (SCALE / (high - low)))
    square = np.zeros((images.size, images.size), np.uint16)
    square[: resized.shape[0], : resized.shape[1]] = np.clip(fixed, 0, SCALE)
    return square


def _resizable(pixels: NDArray[Any], span: float) -> NDArray[Any]:
    """Return values whose means lose less than 1/4096 of the span: OpenCV rounds the means of integers to integers."""
    if pixels.dtype.kind == "f":
        return pixels
    if pixels.dtype.name not in _RESIZABLE:
        return pixels.astype(np.float64)
    return pixels if span >= _MIN_LEVELS - 1 else pixels.astype(np.float32)


def _extent(pixels: NDArray[Any], images: Images) -> tuple[int, int]:
    """Return width and height of the resized image."""
    if images.aspect is Aspect.STRETCH:
        return images.size, images.size
    rows, columns = pixels.shape
    longest = max(rows, columns)
    return max(1, round(columns * images.size / longest)), max(1, round(rows * images.size / longest))

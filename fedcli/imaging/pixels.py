"""A mammogram's stored values → size × size in [0, 1], as uint16 fixed point (65535 is 1): brighter is denser.

Every output pixel is the mean of the area that it covers. Linear steps are applied to the means; a window or equalisation is not
linear and is applied to every pixel first. The minimum and maximum are those at full resolution.

OpenCV rounds means of integers to integers and processes pixels one by one. Here rows are summed first, strip by strip, with
OpenCV's vectorised float32 sum of integers, which is exact up to 2**24 (256 rows of 16 bits). The result, about a hundredth of
the image, goes through INTER_AREA. The order of the sums is fixed, so all machines compute the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli.imaging.harmonisation import breast_box, has_chest_wall_right, matched
from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.plan import Aspect, Crop, Images, Intensity, Orientation

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fedcli.imaging.mammogram import Mammogram

SCALE = 65535


def to_square(mammogram: Mammogram, images: Images) -> NDArray[np.uint16]:
    """Return the image as the plan wants it, (size, size).

    Raises:
        RejectedError: All pixels are equal, or the plan requires a window and the file has none.
    """
    falling = mammogram.falling
    pixels, padding = _framed(mammogram, images)
    low, high = float(pixels.min()), float(pixels.max())
    if low == high:
        raise RejectedError(Reason.BLANK)
    if images.intensity is Intensity.STORED_RANGE:
        low, high = mammogram.low, mammogram.high
    elif images.intensity is Intensity.WINDOW:
        # The window applies to modality values, so it includes their slope.
        pixels, low, high, falling = _mapped(pixels, low, high, _window(mammogram)), 0.0, float(SCALE), mammogram.inverted
    elif images.intensity in {Intensity.EQUALIZED, Intensity.REFERENCE}:
        levels = _levels(pixels, low, high, falling=falling)
        pixels = matched(levels, images.reference, SCALE) if images.reference else _equalized(levels)
        low, high, falling = 0.0, float(SCALE), False
    if padding is not None and images.intensity in {Intensity.STORED_RANGE, Intensity.WINDOW}:
        pixels = np.where(padding, pixels.dtype.type(high if falling else low), pixels)
    rows, columns = extent_of(pixels.shape[0], pixels.shape[1], images)
    means = averaged(pixels, rows, columns)
    fixed = ((high - means) if falling else (means - low)) * (SCALE / (high - low))
    square = np.zeros((images.size, images.size), np.uint16)
    square[:rows, :columns] = np.rint(np.clip(fixed, 0, SCALE))
    return square


def _framed(mammogram: Mammogram, images: Images) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return the pixels and the padding of the part that the plan takes, as the plan lays it."""
    pixels, padding = mammogram.pixels, mammogram.padding
    if images.crop is Crop.BREAST:
        box = breast_box(pixels, falling=mammogram.falling)
        pixels, padding = pixels[box], None if padding is None else padding[box]
    if images.orientation is Orientation.CHEST_WALL_LEFT and has_chest_wall_right(pixels, falling=mammogram.falling):
        pixels, padding = np.ascontiguousarray(pixels[:, ::-1]), None if padding is None else padding[:, ::-1]
    return np.ascontiguousarray(pixels), padding


def _window(mammogram: Mammogram) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """Return the function from stored values to [0, 1]."""
    voi = mammogram.voi
    if voi is None:
        raise RejectedError(Reason.NO_WINDOW)
    return lambda stored: voi(stored.astype(np.float64) * mammogram.slope + mammogram.intercept)


def _mapped(
    pixels: NDArray[Any], low: float, high: float, function: Callable[[NDArray[Any]], NDArray[np.float64]]
) -> NDArray[Any]:
    """Apply a function to every pixel, with a table if there are few possible values; [0, 1] becomes [0, SCALE]."""
    if not _has_levels(pixels):
        return np.asarray(function(pixels) * SCALE)
    table = np.rint(function(np.arange(int(low), int(high) + 1)) * SCALE).astype(np.uint16)
    return np.take(table, _above(pixels, low))


def _levels(pixels: NDArray[Any], low: float, high: float, *, falling: bool) -> NDArray[np.uint16]:
    """Return levels that rise from the darkest value, 0, to the brightest."""
    if _has_levels(pixels):
        return -_above(pixels, high) if falling else _above(pixels, low)
    scaled: NDArray[Any] = np.rint(((high - pixels) if falling else (pixels - low)) * (SCALE / (high - low)))
    return scaled.astype(np.uint16)


def _equalized(levels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Map every level to its rank: the share of the pixels above the darkest level that are not above it."""
    below = np.cumsum(np.bincount(levels.ravel()))
    table = np.rint((below - below[0]) * (SCALE / (below[-1] - below[0]))).astype(np.uint16)
    return np.take(table, levels)


def _has_levels(pixels: NDArray[Any]) -> bool:
    """Return whether the type has so few values that a table can hold them."""
    return pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= np.uint16().itemsize


def _above(pixels: NDArray[Any], low: float) -> NDArray[np.uint16]:
    """Return values minus the lowest; signed differences may overflow their type, and wrap around to the right value."""
    above: NDArray[np.uint16] = (pixels - pixels.dtype.type(low)).astype(np.uint16)
    return above


def extent_of(rows: int, columns: int, images: Images) -> tuple[int, int]:
    """Return rows and columns of the resized image; the rest of the square is padding."""
    if images.aspect is Aspect.STRETCH:
        return images.size, images.size
    longest = max(rows, columns)
    return max(1, round(rows * images.size / longest)), max(1, round(columns * images.size / longest))


_EXACT = ("uint8", "uint16", "int16", "float32", "float64")


def averaged(pixels: NDArray[Any], rows: int, columns: int) -> NDArray[np.float64]:
    """Return the image at another size, float64: every output pixel is the mean of the area that it covers.

    If it is smaller than the output in either direction, OpenCV interpolates linearly instead.

    Args:
        pixels: (rows, columns) of any numeric type.
        rows: Rows of the result.
        columns: Columns of the result.
    """
    import cv2  # noqa: PLC0415 - a check of headers does without its 15 MB

    if pixels.dtype.name not in _EXACT:
        pixels = pixels.astype(np.float64)
    if rows < pixels.shape[0] and columns < pixels.shape[1]:
        pixels = _strips(pixels, rows)
    elif pixels.dtype.kind != "f":
        pixels = pixels.astype(np.float32)
    resized = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.float64)


def _strips(pixels: NDArray[Any], count: int) -> NDArray[Any]:
    """Return the means of `count` strips of equal height, whose first and last rows count partially."""
    import cv2  # noqa: PLC0415 - a check of headers does without its 15 MB

    length = pixels.shape[0]
    kind, depth = (np.float64, cv2.CV_64F) if pixels.dtype == np.float64 else (np.float32, cv2.CV_32F)
    strips = np.empty((count, pixels.shape[1]), kind)
    for number in range(count):
        # Edges are number × length / count: whole rows lie between them, and they cut the rows before and after.
        first, share_before = divmod(-number * length, count)
        end, share_after = divmod((number + 1) * length, count)
        first = -first
        strip = strips[number]
        if first < end:
            cv2.reduce(pixels[first:end], 0, cv2.REDUCE_SUM, strip[None], depth)
        else:
            strip[:] = 0
        if share_before:
            strip += pixels[first - 1] * kind(share_before / count)
        if share_after:
            strip += pixels[end] * kind(share_after / count)
    strips *= kind(count / length)
    return strips

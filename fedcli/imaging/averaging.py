"""Area averaging: every output pixel is the mean of the area that it covers.

OpenCV rounds means of integers to integers and processes pixels one by one. Here rows are summed first, strip by strip, with
OpenCV's vectorised float32 sum of integers, which is exact up to 2**24 (256 rows of 16 bits). The result, about a hundredth of
the image, goes through INTER_AREA. The order of the sums is fixed, so all machines compute the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXACT = ("uint8", "uint16", "int16", "float32", "float64")


def averaged(pixels: NDArray[Any], rows: int, columns: int) -> NDArray[np.float64]:
    """Return the image at another size, float64.

    If it is smaller than the output in either direction, OpenCV interpolates linearly instead.

    Args:
        pixels: (rows, columns) of any numeric type.
        rows: Rows of the result.
        columns: Columns of the result.
    """
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

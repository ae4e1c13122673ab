"""Area averaging: every output pixel is the mean of the area that it covers.

OpenCV rounds the means of integers to integers and walks through all pixels one by one. Here rows are added up first, strip by
strip, by OpenCV's vectorised sum of integers as float32, which is exact up to 2**24 (256 rows of 16 bits); what is left, a
hundredth of the image or so, goes through INTER_AREA. The order of the sums is fixed, so every machine finds the same.
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

    Where it is smaller than the output, in either direction, OpenCV interpolates linearly instead.

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
    """Return the means of `count` equally high strips, whose first and last rows count in part."""
    length = pixels.shape[0]
    kind, depth = (np.float64, cv2.CV_64F) if pixels.dtype == np.float64 else (np.float32, cv2.CV_32F)
    strips = np.empty((count, pixels.shape[1]), kind)
    for number in range(count):
        # Edges are number × length / count: whole rows between them, and the shares of the rows that they cut.
        first, of_row_before = divmod(-number * length, count)
        end, of_row_behind = divmod((number + 1) * length, count)
        first = -first
        strip = strips[number]
        if first < end:
            cv2.reduce(pixels[first:end], 0, cv2.REDUCE_SUM, strip[None], depth)
        else:
            strip[:] = 0
        if of_row_before:
            strip += pixels[first - 1] * kind(of_row_before / count)
        if of_row_behind:
            strip += pixels[end] * kind(of_row_behind / count)
    strips *= kind(count / length)
    return strips

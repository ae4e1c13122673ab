"""Steps that make images of different scanners alike: the breast's box, the chest wall on the left, a reference histogram.

Pure functions of the pixels, the same for every scanner. The paper names them as future work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LEVELS = 256
_ABOVE_AIR = 0.05
"""The breast is brighter than air by more than this share of the image's range."""
_SIDE = 256
"""The box is found on a small copy of the image, at most so many pixels wide and high."""


def breast_mask(brightness: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where the breast is: the largest connected region that is brighter than air.

    Labels and markers are regions of their own.

    Args:
        brightness: (rows, columns), brighter is denser, of any range.
    """
    import cv2  # noqa: PLC0415 - a check of headers does without its 15 MB

    low, high = float(brightness.min()), float(brightness.max())
    if low == high:
        return np.ones(brightness.shape, np.bool_)
    scaled = (brightness - low) / (high - low)
    values = scaled.ravel()
    bright = (scaled > _air(values, np.ones(len(values), np.int64))).astype(np.uint8)
    num_regions, regions, statistics, _ = cv2.connectedComponentsWithStats(bright, connectivity=4)
    if num_regions < 2:  # noqa: PLR2004 - the background is a region too
        return np.ones(brightness.shape, np.bool_)
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    return np.asarray(regions == largest)


def breast_box(pixels: NDArray[Any], *, falling: bool) -> tuple[slice, slice]:
    """Return the rows and columns of the breast's bounding box.

    Args:
        pixels: (rows, columns).
        falling: Whether a higher value is darker.
    """
    rows, columns = pixels.shape
    mask = breast_mask(_small(pixels, falling=falling))
    inside_rows, inside_columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return _scaled(inside_rows, rows), _scaled(inside_columns, columns)


def has_chest_wall_right(pixels: NDArray[Any], *, falling: bool) -> bool:
    """Tell whether the chest wall is on the right: more of the breast lies in the right half of the image.

    Args:
        pixels: (rows, columns).
        falling: Whether a higher value is darker.
    """
    of_columns = breast_mask(_small(pixels, falling=falling)).sum(axis=0)
    half = len(of_columns) // 2
    return int(of_columns[len(of_columns) - half :].sum()) > int(of_columns[:half].sum())


def matched(levels: NDArray[np.uint16], reference: Sequence[float], scale: int) -> NDArray[np.uint16]:
    """Return intensities whose distribution over the breast is that of a reference; air is 0.

    A level's rank is the share of the pixels brighter than air that are not brighter than it.

    Args:
        levels: Levels that rise from dark to bright, any shape.
        reference: The reference's quantiles at equal steps from 0 to 1, rising, in [0, 1].
        scale: The intensity 1.
    """
    counts = np.bincount(levels.ravel())
    air = _air(np.arange(len(counts)) / max(len(counts) - 1, 1), counts)
    counts[: int(air * (len(counts) - 1)) + 1] = 0
    ranks = np.cumsum(counts) / max(int(counts.sum()), 1)
    table = np.interp(ranks, np.linspace(0, 1, len(reference)), reference) * (ranks > 0)
    return np.take(np.rint(table * scale).astype(np.uint16), levels)


def _air(values: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """Return the brightness up to which pixels are air, of values in [0, 1] and how many pixels have each.

    Air is the most frequent of 256 equal levels. A pixel is brighter if it exceeds the middle of that level by 0.05.
    """
    places = np.minimum((values * _LEVELS).astype(np.int64), _LEVELS - 1)
    of_levels = np.bincount(places, weights=counts, minlength=_LEVELS)
    return (int(of_levels.argmax()) + 0.5) / _LEVELS + _ABOVE_AIR


def _small(pixels: NDArray[Any], *, falling: bool) -> NDArray[np.float64]:
    """Return a copy of at most `_SIDE` rows and columns, brighter is denser: every so many pixels, not their mean."""
    step_rows, step_columns = (-(-length // _SIDE) for length in pixels.shape)
    small = pixels[::step_rows, ::step_columns].astype(np.float64)
    return -small if falling else small


def _scaled(inside: NDArray[np.intp], length: int) -> slice:
    """Return the range of full-size positions that the positions of a small copy stand for."""
    step = -(-length // _SIDE)
    return slice(int(inside[0]) * step, min((int(inside[-1]) + 1) * step, length))

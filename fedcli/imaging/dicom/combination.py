"""Several frames → one image: the middle frame, or the mean or the brightest value at every pixel.

A frame's padding takes no part. A pixel that is padding in every frame is padding of the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli.plan import Frames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Frame = tuple[NDArray[Any], NDArray[np.bool_] | None]


def frames_of(num_frames: int, how: Frames) -> range:
    """Return which frames are needed, counted from 0."""
    return range(num_frames // 2, num_frames // 2 + 1) if how is Frames.MIDDLE else range(num_frames)


def combined(frames: Iterable[Frame], how: Frames, *, darkest: float, falling: bool) -> Frame:
    """Return one image's values and its padding.

    Args:
        frames: Values, (rows, columns), and padding of each frame that is needed; None for no padding.
        how: How they are combined.
        darkest: The darkest value that a pixel can have.
        falling: Whether a higher value is darker.

    Returns:
        The values, float32 for a mean of several frames; and where the image is padding, None for nowhere.
    """
    frames = iter(frames)
    values, everywhere = next(frames)
    if how is Frames.MEAN:
        return _mean(values, everywhere, frames)
    brighter = np.minimum if falling else np.maximum
    for number, (other, padding) in enumerate(frames):
        if not number:
            values = _without(values, everywhere, darkest).copy()
        brighter(values, _without(other, padding, darkest), out=values)
        everywhere = None if everywhere is None or padding is None else everywhere & padding
    return values, everywhere


def _mean(values: NDArray[Any], everywhere: NDArray[np.bool_] | None, others: Iterable[Frame]) -> Frame:
    total = _without(values, everywhere, 0).astype(np.float32)
    count: Any = 1 if everywhere is None else (~everywhere).astype(np.int64)
    for other, padding in others:
        total += _without(other, padding, 0)
        count = count + (1 if padding is None else ~padding)
        everywhere = None if everywhere is None or padding is None else everywhere & padding
    total /= np.maximum(count, 1).astype(np.float32)
    return total, everywhere


def _without(values: NDArray[Any], padding: NDArray[np.bool_] | None, instead: float) -> NDArray[Any]:
    return values if padding is None else np.where(padding, values.dtype.type(instead), values)

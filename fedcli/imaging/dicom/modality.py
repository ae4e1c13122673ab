"""From stored values to modality values: Pixel Padding (PS3.3 C.7.5.1.1.2), Modality LUT and rescale (C.11.1).

A linear rescale that all frames share is only recorded, because it can be applied to the few pixels of the result. A Modality
LUT, and a rescale that differs between frames, are applied to every frame before frames are combined.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli.imaging.dicom.header import items_of_frame, number_of, table_of
from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from fedcli.imaging.dicom.header import Header
    from fedcli.imaging.dicom.pixel_layout import PixelLayout

_LUT_BITS = range(8, 17)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModalityTransformation:
    """How the stored values of frames become modality values, or values that a linear step makes to modality values.

    Attributes:
        low: The smallest value that a pixel can have afterwards.
        high: The largest one.
        slope: The linear step that is left: the modality value is slope × value + intercept.
        intercept: See `slope`.
        table: First mapped value and entries of the Modality LUT; None where there is none.
        rescales: Slope and intercept of each frame; empty where all frames share the linear step.
    """

    low: float
    high: float
    slope: float = 1.0
    intercept: float = 0.0
    table: tuple[int, NDArray[np.int64]] | None = None
    rescales: tuple[tuple[float, float], ...] = ()

    def apply(self, stored: NDArray[Any], position: int) -> NDArray[Any]:
        """Return a frame's values.

        Args:
            stored: (rows, columns) of integers.
            position: Of the frame among those that are combined.
        """
        if self.table is not None:
            first, entries = self.table
            return np.take(entries.astype(np.uint16), np.clip(stored.astype(np.int64) - first, 0, len(entries) - 1))
        if self.rescales:
            slope, intercept = self.rescales[position]
            return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        return stored


def transformation_of(header: Header, layout: PixelLayout, frames: Sequence[int]) -> ModalityTransformation:
    """Return the transformation of the frames that are combined, counted from 0.

    Raises:
        RejectedError: The Modality LUT or a rescale is not valid.
    """
    low, high = map(float, layout.range_of(layout.bits))
    if header.dataset.get("ModalityLUTSequence"):
        first, largest, entries = _table(header)
        return ModalityTransformation(low=0.0, high=float(largest), table=(first, entries))
    rescales = tuple(_rescale(header.dataset, frame) for frame in frames)
    if len(set(rescales)) == 1:
        return ModalityTransformation(low=low, high=high, slope=rescales[0][0], intercept=rescales[0][1])
    ends = [slope * end + intercept for slope, intercept in rescales for end in (low, high)]
    return ModalityTransformation(low=min(ends), high=max(ends), rescales=rescales)


def padding_of(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.bool_] | None:
    """Return where a frame is padded: Pixel Padding Value (0028,0120) to Range Limit (0028,0121); None for nowhere.

    Raises:
        RejectedError: The padding values are not integers.
    """
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    limit = value if limit is None else limit
    if not (isinstance(value, int) and isinstance(limit, int)):
        raise RejectedError(Reason.CONTRADICTION)
    low, high = sorted((value, limit))
    if high < stored.min() or low > stored.max():
        return None
    mask: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return mask if mask.any() else None


def _rescale(dataset: Dataset, frame: int) -> tuple[float, float]:
    """Return slope and intercept (0028,1053), (0028,1052), of the whole file or of a frame's functional groups."""
    for source in (dataset, *items_of_frame(dataset, frame, "PixelValueTransformationSequence")):
        if source.get("RescaleSlope") is not None:
            slope = number_of(source.RescaleSlope)
            intercept = number_of(source.get("RescaleIntercept") or 0)
            if not slope or not math.isfinite(slope) or not math.isfinite(intercept):
                raise RejectedError(Reason.VALUE)
            return slope, intercept
    return 1.0, 0.0


def _table(header: Header) -> tuple[int, int, NDArray[np.int64]]:
    """Return first mapped value, largest possible entry, and entries of the Modality LUT (0028,3000)."""
    try:
        first, bits, entries = table_of(header.dataset.ModalityLUTSequence[0], big=header.big)
    except (AttributeError, TypeError, ValueError) as error:
        raise RejectedError(Reason.VALUE) from error
    if bits not in _LUT_BITS or entries.min() < 0 or entries.max() >= 1 << bits:
        raise RejectedError(Reason.VALUE)
    return first, (1 << bits) - 1, entries

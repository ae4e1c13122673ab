"""Values of interest: which modality values a file displays, from black to white (PS3.3 C.11.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli.imaging.dicom.header import items_of_frame, number_of, table_of
from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from fedcli.imaging.dicom.header import Header


class VoiFunction(StrEnum):
    """VOI LUT Function (0028,1056)."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window: its function, Window Center (0028,1050) and Window Width (0028,1051)."""

    function: VoiFunction
    centre: float
    width: float

    def brightness(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the brightness in [0, 1] of modality values (C.11.2.1.2 and C.11.2.1.3)."""
        values = values.astype(np.float64)
        if self.function is VoiFunction.SIGMOID:
            exponents = np.clip(-4 * (values - self.centre) / self.width, -700, 700)
            return np.asarray(1 / (1 + np.exp(exponents)))
        if self.function is VoiFunction.LINEAR_EXACT:
            return np.clip((values - self.centre) / self.width + 0.5, 0, 1)
        if self.width == 1:
            return np.asarray(values > self.centre - 0.5, np.float64)
        return np.clip((values - (self.centre - 0.5)) / (self.width - 1) + 0.5, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiLut:
    """A VOI LUT (0028,3010): its entries divided by the largest possible one, and the modality value of the first entry."""

    first: int
    entries: tuple[float, ...]

    def brightness(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the brightness in [0, 1] of modality values (C.11.2.1.1)."""
        positions = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        brightness: NDArray[np.float64] = np.asarray(self.entries, np.float64)[positions]
        return brightness


def voi_of(header: Header, frame: int) -> Window | VoiLut:
    """Return the file's first VOI LUT, else its first window.

    Raises:
        RejectedError: There is neither, or it is not valid.
    """
    for source in (header.dataset, *items_of_frame(header.dataset, frame, "FrameVOILUTSequence")):
        if source.get("VOILUTSequence"):
            return _lut(source.VOILUTSequence[0], big=header.big)
        if source.get("WindowCenter") is not None and source.get("WindowWidth") is not None:
            return _window(source)
    raise RejectedError(Reason.NO_WINDOW)


def _window(source: Dataset) -> Window:
    centre, width = (number_of(source.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    function = str(source.get("VOILUTFunction") or VoiFunction.LINEAR).strip().upper()
    least = 1.0 if function == VoiFunction.LINEAR else math.ulp(0.0)
    if function not in set(VoiFunction) or not (math.isfinite(centre) and math.isfinite(width) and width >= least):
        raise RejectedError(Reason.WINDOW)
    return Window(function=VoiFunction(function), centre=centre, width=width)


def _lut(item: Dataset, *, big: bool) -> VoiLut:
    try:
        first, bits, entries = table_of(item, big=big)
    except (AttributeError, TypeError, ValueError) as error:
        raise RejectedError(Reason.WINDOW) from error
    largest = (1 << bits) - 1
    if not (0 < bits <= 16 and 0 <= entries.min() <= entries.max() <= largest):  # noqa: PLR2004 - bits
        raise RejectedError(Reason.WINDOW)
    return VoiLut(first=first, entries=tuple((entries / largest).tolist()))

"""Values of interest: which modality values a file displays, from black to white (PS3.3 C.11.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli.imaging.dicom.header import items_of_frame
from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset


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


def voi_of(dataset: Dataset, frame: int) -> Window | VoiLut | None:
    """Return the file's first VOI LUT, else its first window, else None.

    Raises:
        RejectedError: The table or window is not valid.
    """
    for source in (dataset, *items_of_frame(dataset, frame, "FrameVOILUTSequence")):
        if source.get("VOILUTSequence"):
            return _lut(source.VOILUTSequence[0])
        if source.get("WindowCenter") is not None and source.get("WindowWidth") is not None:
            return _window(source)
    return None


def _window(source: Dataset) -> Window:
    centre, width = (_first(source.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    function = str(source.get("VOILUTFunction") or VoiFunction.LINEAR)
    if function not in set(VoiFunction):
        raise RejectedError(Reason.CONTRADICTION)
    least = 1.0 if function == VoiFunction.LINEAR else math.ulp(0.0)
    if not (math.isfinite(centre) and math.isfinite(width) and width >= least):
        raise RejectedError(Reason.CONTRADICTION)
    return Window(function=VoiFunction(function), centre=centre, width=width)


def _lut(item: Dataset) -> VoiLut:
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    data = item.LUTData
    entries = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data, np.int64)
    entries = entries[: count or 1 << 16]
    largest = (1 << bits) - 1
    if not (0 < bits <= 16 and entries.size and 0 <= entries.min() <= entries.max() <= largest):  # noqa: PLR2004 - bits
        raise RejectedError(Reason.CONTRADICTION)
    return VoiLut(first=first, entries=tuple((entries / largest).tolist()))


def _first(value: object) -> float:
    return float(value[0] if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else value)  # type: ignore[arg-type,index]

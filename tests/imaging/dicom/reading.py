"""Reading DICOM files as the tests do: of any presentation intent, and as grey values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli.imaging.dicom import reader
from fedcli.plan import Images, Presentation

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.imaging.mammogram import Mammogram


def read(path: Path, **settings: Any) -> Mammogram:
    """Read one file by these settings of images."""
    return reader.read(path, Images(presentation=Presentation.ANY, **settings))


def grey_of(mammogram: Mammogram) -> NDArray[np.float64]:
    """Return grey values, brighter is denser: after rescale and inversion, which keeps the range."""
    values = mammogram.pixels.astype(np.float64)
    if mammogram.inverted:
        values = mammogram.low + mammogram.high - values
    return values * mammogram.slope + mammogram.intercept

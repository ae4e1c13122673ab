"""A mammography system: from attenuation to stored pixel values.

The scanners of two hospitals show the same breast differently: their intensity curves, noise, sharpness, resolution and bits
differ, and some store white as 0. None of this changes where dense tissue is, or how much there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fedcli.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy.typing as npt

FIELD_HEIGHT = 240.0
"""Height of every detector in millimetres; its pixel spacing follows from the number of rows."""

_MIN_SIDE, _MAX_SIDE = 32, 8192
_CURVE_STEPS = 4096
_WINDOW_TOP = 0.85
_AIR = 1e-3
_OUT_OF_FOCUS = 0.01
"""Additional blur of a slice for each slice between it and the one in focus, as a fraction of the image's width."""
_COARSE = 0.1
"""Standard deviation of what `sharpening` takes to be a large area, as a fraction of the image's width."""


class Photometric(StrEnum):
    """Photometric Interpretation (0028,0004): whether the lowest stored value is white or black."""

    MONOCHROME1 = "MONOCHROME1"
    MONOCHROME2 = "MONOCHROME2"


class Detector(StrEnum):
    """Detector Type (0018,7004)."""

    DIRECT = "DIRECT"
    SCINTILLATOR = "SCINTILLATOR"


class TransferSyntax(StrEnum):
    """How a file's data set and pixels are encoded: the UIDs of PS3.6 that pydicom writes without other libraries."""

    IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
    EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
    RLE_LOSSLESS = "1.2.840.10008.1.2.5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """A mammography system.

    Attributes:
        manufacturer: Manufacturer (0008,0070).
        model: Manufacturer's Model Name (0008,1090).
        detector: Detector Type (0018,7004).
        rows: Rows (0028,0010) of every image.
        columns: Columns (0028,0011) of every image.
        bits: Bits Stored (0028,0101): 10, 12 or 14.
        photometric: Photometric Interpretation (0028,0004); MONOCHROME1 is stored inverted.
        curve: Brightness in [0, 1] at attenuations evenly spaced from 0 (air) to 1 (lead), rising strictly; linear in between.
        compensation: How automatic exposure follows density: above 0, dense breasts come out darker than fatty ones, below 0
            brighter.
        noise: Standard deviation of the noise of each pixel, as a fraction of the full range.
        clears_air: Whether the area outside the breast is stored without noise, as many systems do.
        blur: Standard deviation of the point spread, as a fraction of the image's width.
        transfer_syntax: How the files are encoded.
        sharpening: Processing for the reader: this share of the difference to a blurred copy is added, so that edges are
            stronger and large bright areas flatter.
        slices: Of a tomosynthesis volume; 1 takes a single image. The middle one is in focus.
    """

    manufacturer: str
    model: str
    detector: Detector
    rows: int
    columns: int
    bits: int
    photometric: Photometric
    curve: tuple[float, ...]
    compensation: float
    noise: float
    clears_air: bool
    blur: float
    transfer_syntax: TransferSyntax
    sharpening: float = 0.0
    slices: int = 1

    def __post_init__(self) -> None:
        """Refuse values that no file can store, and curves that cannot be inverted.

        Raises:
            ConfigurationError: A value is out of bounds.
        """
        if not (_MIN_SIDE <= self.rows <= _MAX_SIDE and _MIN_SIDE <= self.columns <= _MAX_SIDE):
            msg = f"{self.model}: rows and columns must be {_MIN_SIDE} to {_MAX_SIDE}, found {self.rows} × {self.columns}"
            raise ConfigurationError(msg)
        if self.bits not in {10, 12, 14}:
            msg = f"{self.model}: bits must be 10, 12 or 14, found {self.bits}"
            raise ConfigurationError(msg)
        rising = all(low < high for low, high in pairwise(self.curve))
        if len(self.curve) < 2 or not rising or self.curve[0] < 0 or self.curve[-1] > 1:  # noqa: PLR2004 - a line has two ends
            msg = f"{self.model}: curve must rise strictly within [0, 1], found {self.curve}"
            raise ConfigurationError(msg)
        if not -2 <= self.compensation <= 2:  # noqa: PLR2004 - outside, breasts are completely black or white
            msg = f"{self.model}: compensation must be in [-2, 2], found {self.compensation}"
            raise ConfigurationError(msg)
        if not (0 <= self.noise < 1 and 0 <= self.blur < 1 and 0 <= self.sharpening < 10):  # noqa: PLR2004 - see the message
            msg = (
                f"{self.model}: noise and blur must be in [0, 1) and sharpening in [0, 10), "
                f"found {self.noise}, {self.blur} and {self.sharpening}"
            )
            raise ConfigurationError(msg)

    def exposure_of(self, share: float) -> float:
        """Return the exponent by which automatic exposure darkens (above 1) or brightens a breast of this dense share."""
        return math.exp(self.compensation * (2 * share - 1))

    @property
    def white(self) -> int:
        """The highest value that `bits` can store."""
        return (1 << self.bits) - 1

    @property
    def pixel_spacing(self) -> float:
        """Imager Pixel Spacing (0018,1164) in millimetres, the same along rows and columns."""
        return round(FIELD_HEIGHT / self.rows, 6)

    @property
    def window(self) -> tuple[int, int]:
        """Window Center (0028,1050) and Window Width (0028,1051): from air to slightly above the densest tissue."""
        low, high = (round(self.white * np.interp(at, np.linspace(0, 1, len(self.curve)), self.curve)) for at in (0, _WINDOW_TOP))
        centre = (low + high + 1) // 2
        return (self.white - centre if self.photometric is Photometric.MONOCHROME1 else centre), max(high - low, 1)


def expose(scanner: Scanner, attenuation: npt.NDArray[np.float32], *, generator: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Take an image.

    Args:
        scanner: The system.
        attenuation: float32 array in [0, 1], scanner.rows × scanner.columns.
        generator: Draws the noise.

    Returns:
        Stored values, uint16, 0 to scanner.white; inverted for MONOCHROME1.
    """
    if scanner.blur:
        blurred = cv2.GaussianBlur(attenuation, (0, 0), scanner.blur * scanner.columns)
        attenuation = np.asarray(blurred, np.float32)
    image = _curve_table(scanner)[np.rint(attenuation * _CURVE_STEPS).astype(np.intp)]
    if scanner.sharpening:
        coarse = cv2.GaussianBlur(image, (0, 0), _COARSE * scanner.columns)
        image += np.float32(scanner.sharpening) * (image - coarse)
    noise = np.float32(scanner.noise) * generator.standard_normal(image.shape, dtype=np.float32)
    if scanner.clears_air:
        noise[attenuation < _AIR] = 0
    image += noise
    stored = np.rint(np.clip(image, 0, 1) * scanner.white).astype(np.uint16)
    return scanner.white - stored if scanner.photometric is Photometric.MONOCHROME1 else stored


def expose_volume(
    scanner: Scanner, attenuation: npt.NDArray[np.float32], *, generator: np.random.Generator
) -> npt.NDArray[np.uint16]:
    """Take a tomosynthesis volume: as `expose`, scanner.slices × scanner.rows × scanner.columns."""
    volume = []
    for number in range(scanner.slices):
        distance = abs(number - scanner.slices // 2)
        blur = replace(scanner, blur=scanner.blur + _OUT_OF_FOCUS * distance)
        volume.append(expose(blur, attenuation, generator=generator))
    return np.stack(volume)


def _curve_table(scanner: Scanner) -> npt.NDArray[np.float32]:
    attenuations = np.linspace(0, 1, _CURVE_STEPS + 1)
    return np.interp(attenuations, np.linspace(0, 1, len(scanner.curve)), scanner.curve).astype(np.float32)

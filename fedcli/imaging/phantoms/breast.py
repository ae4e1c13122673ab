"""The X-ray attenuation of one breast, independent of the scanner, pixel by pixel.

Attenuation is a number in [0, 1] on one scale for all hospitals: air is 0, a lead marker is 1. Where the breast is compressed to
full thickness, fatty tissue is at `FAT`, fibroglandular (dense) tissue at `GLAND`, the pectoral muscle at `MUSCLE`; towards the
skin, thickness and attenuation fall to 0. The share of dense tissue is exact: it is that fraction of the breast's pixels without
the muscle.

Shapes and textures are drawn on grids of fixed size and then stretched, so one seed gives the same breast at every resolution,
and a realistic size costs little more time than its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Image = npt.NDArray[np.float32]

FAT = 0.30
MUSCLE = 0.60
GLAND = 0.75
LEAD = 1.0

_TEXTURE = (((10, 8), 1.0), ((20, 16), 0.6), ((40, 32), 0.5), ((80, 64), 0.3))
"""Grid (rows, columns) and weight of each octave of the dense tissue's outline."""
_PARENCHYMA_GRID = (80, 64)
_PARENCHYMA = 0.04
_SOFT_EDGE = 0.9
"""Width of the transition from fatty to dense tissue, in standard deviations of the texture."""
_SKIN = 0.3
"""Fraction of the breast's radius over which the thickness falls to 0."""


class Side(StrEnum):
    """Image Laterality (0020,0062)."""

    LEFT = "L"
    RIGHT = "R"


class View(StrEnum):
    """View Position (0018,5101)."""

    CC = "CC"
    MLO = "MLO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breast:
    """A patient's breast, the same shape on both sides.

    Attributes:
        depth: From the chest wall to the nipple, as a fraction of the image's width.
        half_height: Half of its extent along the chest wall, as a fraction of the image's height.
        exposure: Exponent of the attenuation, for compression and beam: above 1 the image is darker, below 1 brighter.
        share: Fraction of the breast that is dense tissue.
        contrast: By how much dense tissue attenuates more than fatty tissue, as a fraction of `GLAND` - `FAT`.
        concentration: How strongly dense tissue lies in the cone behind the nipple, away from the skin; 0 scatters it evenly.
    """

    depth: float
    half_height: float
    exposure: float
    share: float
    contrast: float = 1.0
    concentration: float = 3.0


def attenuation(breast: Breast, side: Side, view: View, rows: int, columns: int, *, generator: np.random.Generator) -> Image:
    """Draw one view.

    The chest wall is at the left edge for a left breast and at the right edge for a right one; a lead marker names side and view
    in the opposite upper corner.

    Returns:
        float32 array, rows × columns, in [0, 1].
    """
    y = _centres(rows)[:, None]
    x = _centres(columns)[None, :]
    radius = _radius(breast, view, x, y)
    muscle = _muscle(view, x, y, generator)
    inside = (radius < 1) & (muscle < 0.5)  # noqa: PLR2004 - the middle of the muscle's soft edge

    texture = sum(weight * _noise(generator, grid, rows, columns) for grid, weight in _TEXTURE) - breast.concentration * radius
    dense = _at_share(texture, inside, breast.share)

    tissue = FAT + breast.contrast * (GLAND - FAT) * dense
    tissue += _PARENCHYMA * _noise(generator, _PARENCHYMA_GRID, rows, columns)
    tissue += (MUSCLE - tissue) * muscle
    thickness = np.sqrt(np.clip((1 - radius) / _SKIN, 0, 1))
    image: Image = (np.clip(thickness * tissue, 0, 1) ** np.float32(breast.exposure)).astype(np.float32)
    if side is Side.RIGHT:
        image = np.ascontiguousarray(image[:, ::-1])
    return _with_marker(image, side, view)


def _centres(num_pixels: int) -> Image:
    """Return the centres of the pixels along one axis, from 0 to 1."""
    return ((np.arange(num_pixels) + 0.5) / num_pixels).astype(np.float32)


def _radius(breast: Breast, view: View, x: Image, y: Image) -> Image:
    """Return the distance from the middle of the chest wall: 1 at the skin, above 1 in air."""
    middle = 0.5 if view is View.CC else 0.56
    ellipse: Image = np.sqrt((x / breast.depth) ** 2 + ((y - middle) / breast.half_height) ** 2)
    if view is View.CC:
        return ellipse
    # In an oblique view the breast reaches up to the armpit: a strip that widens downwards.
    armpit = x / (breast.depth * (0.45 + 0.7 * y)) + np.maximum(0, 4 * (y - middle))
    both: Image = np.minimum(ellipse, armpit)
    return both


def _muscle(view: View, x: Image, y: Image, generator: np.random.Generator) -> Image:
    """Return where the pectoral muscle is, from 0 to 1 with a soft edge: a triangle at the upper chest wall, only in MLO."""
    width, height = generator.uniform(0.25, 0.4), generator.uniform(0.45, 0.7)
    if view is View.CC:
        return np.zeros((1, 1), np.float32)
    muscle: Image = np.clip((1 - x / np.float32(width) - y / np.float32(height)) / np.float32(0.08) + 0.5, 0, 1)
    return muscle


def _noise(generator: np.random.Generator, grid: tuple[int, int], rows: int, columns: int) -> Image:
    """Return smooth noise with about unit variance, drawn on a grid and stretched to rows × columns."""
    coarse = generator.standard_normal(grid, dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC), np.float32)


def _at_share(texture: Image, inside: npt.NDArray[np.bool_], share: float) -> Image:
    """Return 1 where texture is among the highest `share` of the pixels inside, 0 elsewhere, with a soft edge between."""
    values = texture[inside]
    rank = min(round((1 - share) * values.size), values.size - 1)
    threshold = np.partition(values, rank)[rank]
    soft: Image = np.clip((texture - threshold) / np.float32(_SOFT_EDGE) + 0.5, 0, 1)
    return soft


def _with_marker(image: Image, side: Side, view: View) -> Image:
    """Return the image with lead letters in the upper corner away from the chest wall."""
    rows, columns = image.shape
    scale = rows / 320
    thickness = max(1, round(5 * scale))
    text = f"{side}{view}"
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    margin = round(0.03 * columns)
    left = columns - width - margin if side is Side.LEFT else margin
    letters = np.zeros((height + 2 * margin, columns), np.uint8)
    cv2.putText(letters, text, (left, height + margin), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness)
    top = image[: letters.shape[0]]
    np.maximum(top, letters * np.float32(LEAD / 255), out=top)
    return image

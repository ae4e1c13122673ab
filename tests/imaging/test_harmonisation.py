"""Images of different scanners made alike: the breast's box, the chest wall on the left, a reference histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli.imaging.harmonisation import breast_box, breast_mask, has_chest_wall_right
from fedcli.imaging.mammogram import ImageMetadata, Mammogram
from fedcli.imaging.pixels import SCALE, to_square
from fedcli.plan import Crop, Images, Intensity, Orientation
from tests.fixtures.dicom_files import read

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

REFERENCE = tuple((np.arange(64) / 63) ** 2)


def breast(rows: int = 600, columns: int = 480, noise: float = 0.0) -> NDArray[np.uint16]:
    """Return half an ellipse of tissue at the left edge, a bright marker in the corner of air, and noise everywhere."""
    y, x = np.mgrid[:rows, :columns]
    inside = ((y - rows / 2) / (0.4 * rows)) ** 2 + (x / (0.5 * columns)) ** 2 < 1
    values = np.where(inside, 1500 + 4 * x, 100.0)
    values[20:50, columns - 60 : columns - 20] = 4000
    values += np.random.default_rng(1).normal(0, noise, values.shape)
    return np.clip(values, 0, 4095).astype(np.uint16)


def mammogram(pixels: NDArray[np.uint16], *, inverted: bool = False) -> Mammogram:
    metadata = ImageMetadata(rows=pixels.shape[0], columns=pixels.shape[1], bits=12)
    return Mammogram(pixels=pixels, low=0, high=4095, inverted=inverted, metadata=metadata)


@pytest.mark.parametrize("noise", [0.0, 20.0])
@pytest.mark.parametrize("inverted", [False, True])
def test_the_box_holds_the_breast_and_not_the_marker(noise: float, inverted: bool) -> None:  # noqa: FBT001 - a parameter
    pixels = breast(noise=noise)
    rows, columns = breast_box(4095 - pixels if inverted else pixels, falling=inverted)
    assert (rows.start, columns.start) == (pytest.approx(60, abs=4), 0)
    assert (rows.stop, columns.stop) == (pytest.approx(540, abs=4), pytest.approx(240, abs=4))


def test_an_image_that_is_all_breast_stays_whole() -> None:
    assert breast_mask(np.full((8, 8), 3.0)).all()
    assert breast_box(np.full((900, 700), 7, np.uint16), falling=False) == (slice(0, 900), slice(0, 700))


@pytest.mark.parametrize("inverted", [False, True])
def test_the_chest_wall_comes_to_the_left(inverted: bool) -> None:  # noqa: FBT001 - a parameter
    left = 4095 - breast() if inverted else breast()
    images = Images(size=32, orientation=Orientation.CHEST_WALL_LEFT)
    as_it_is, mirrored = (to_square(mammogram(pixels, inverted=inverted), images) for pixels in (left, left[:, ::-1]))
    assert np.array_equal(as_it_is, mirrored)
    assert np.array_equal(as_it_is, to_square(mammogram(left, inverted=inverted), Images(size=32)))
    stored = to_square(mammogram(np.ascontiguousarray(left[:, ::-1]), inverted=inverted), Images(size=32))
    assert np.array_equal(stored[:, ::-1], as_it_is)


def test_the_crop_is_the_box_as_an_image_of_its_own() -> None:
    pixels = breast()
    rows, columns = breast_box(pixels, falling=False)
    cropped = to_square(mammogram(pixels), Images(size=32, crop=Crop.BREAST))
    assert np.array_equal(cropped, to_square(mammogram(np.ascontiguousarray(pixels[rows, columns])), Images(size=32)))


def test_every_scanner_gets_the_reference_distribution_over_the_breast() -> None:
    tissue = np.random.default_rng(2).permutation(3600).reshape(60, 60) + 400
    values = np.pad(tissue, ((40, 40), (0, 80)))
    rising = np.cumsum(np.random.default_rng(3).integers(1, 15, 4096))
    rising[:400] = 0
    images = Images(size=140, intensity=Intensity.REFERENCE, reference=REFERENCE)
    shown = [
        mammogram(values.astype(np.uint16)),
        mammogram(rising[values].astype(np.uint16)),
        mammogram((4095 - values).astype(np.uint16), inverted=True),
    ]
    one, other, falling = (to_square(item, images) / SCALE for item in shown)
    assert np.abs(one - other).max() < 0.02
    assert np.array_equal(one, falling)
    assert not one[:40].any()
    assert np.abs(np.quantile(one[40:100, :60], np.linspace(0, 1, 64)) - np.array(REFERENCE)).max() < 0.01


@pytest.mark.parametrize("reference", [(), REFERENCE[:63], REFERENCE[::-1]])
def test_a_reference_is_64_rising_numbers(reference: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="64 rising numbers"):
        Images(intensity=Intensity.REFERENCE, reference=reference)
    with pytest.raises(ValueError, match="64 rising numbers"):
        Images(reference=REFERENCE)


def test_real_mammograms(cbis: Path) -> None:
    """The chest wall of a left breast is on the left, that of a right breast on the right."""
    for path in sorted(cbis.rglob("*.dcm")):
        image = read(path)
        right = has_chest_wall_right(image.pixels, falling=image.falling)
        assert right == (image.metadata.laterality == "R"), path

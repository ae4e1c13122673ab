"""To size × size: against an area average in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli.imaging.mammogram import ImageMetadata, Mammogram
from fedcli.imaging.pixels import SCALE, to_square
from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.plan import Aspect, Images, Intensity
from tests.fixtures.area_average import area_average
from tests.fixtures.dicom_files import read

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def mammogram_of(pixels: NDArray[Any], low: float = 0, high: float = 65535) -> Mammogram:
    metadata = ImageMetadata(rows=pixels.shape[0], columns=pixels.shape[1], bits=16)
    return Mammogram(pixels=pixels, low=low, high=high, metadata=metadata)


def in_unit(fixed: NDArray[np.uint16]) -> NDArray[np.float64]:
    return fixed / SCALE


@given(
    rows=st.integers(16, 90),
    columns=st.integers(16, 90),
    levels=st.sampled_from([2, 3, 40, 300, 5000, 65536]),
    kind=st.sampled_from(["u1", "u2", "i2", "u4", "i4", "f8"]),
    seed=st.integers(0, 1000),
)
def test_agrees_with_area_average(rows: int, columns: int, levels: int, kind: str, seed: int) -> None:
    limit = min(levels, 256 if kind == "u1" else 32768 if kind == "i2" else levels)
    pixels = np.random.default_rng(seed).integers(0, limit, (rows, columns)).astype(kind)
    if pixels.min() == pixels.max():
        return
    low, high = float(pixels.min()), float(pixels.max())
    expected = (area_average(pixels, 16) - low) / (high - low)
    assert np.abs(in_unit(to_square(mammogram_of(pixels), Images(size=16))) - expected).max() < 1e-3


def test_agrees_on_a_real_mammogram(cbis: Path) -> None:
    mammogram = read(cbis / "sfm-benign-0" / "1-130.dcm")
    low, high = float(mammogram.pixels.min()), float(mammogram.pixels.max())
    expected = (area_average(mammogram.pixels, 224) - low) / (high - low)
    assert np.abs(in_unit(to_square(mammogram, Images())) - expected).max() < 1e-3


def test_minimum_and_maximum_are_those_of_the_full_resolution() -> None:
    pixels = np.full((160, 160), 1000, np.uint16)
    pixels[0, 0], pixels[0, 1] = 0, 4000
    assert abs(in_unit(to_square(mammogram_of(pixels), Images(size=16)))[8, 8] - 0.25) < 1e-4


def test_stored_range() -> None:
    pixels = np.linspace(-100, 900, 64 * 64).astype(np.int16).reshape(64, 64)
    square = to_square(mammogram_of(pixels, -2048, 2047), Images(size=16, intensity=Intensity.STORED_RANGE))
    assert np.abs(in_unit(square) - (area_average(pixels, 16) + 2048) / 4095).max() < 1e-3


def test_pad_keeps_the_aspect() -> None:
    pixels = np.random.default_rng(1).integers(1000, 60000, (96, 48)).astype(np.uint16)
    square = to_square(mammogram_of(pixels), Images(size=32, aspect=Aspect.PAD))
    assert not square[:, 16:].any()
    assert (square[:, :16] > 0).all()
    wide = to_square(mammogram_of(np.ascontiguousarray(pixels.T)), Images(size=32, aspect=Aspect.PAD))
    assert np.abs(wide.T.astype(int) - square).max() <= 1


def test_smaller_images_grow() -> None:
    square = to_square(mammogram_of(np.array([[0, 9], [9, 0]], np.uint8)), Images(size=16))
    assert (square[0, 0], square[0, -1], square[-1, 0]) == (0, SCALE, SCALE)


@pytest.mark.parametrize("intensity", [item for item in Intensity if item is not Intensity.REFERENCE])
def test_blank_images_are_rejected(intensity: Intensity) -> None:
    with pytest.raises(RejectedError) as caught:
        to_square(mammogram_of(np.full((40, 40), 7, np.uint16)), Images(size=16, intensity=intensity))
    assert caught.value.reason is Reason.BLANK

"""Windows, VOI LUTs, padding, equalisation: against pydicom's own, and in the prepared image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi_lut
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedcli.imaging.pixels import SCALE, to_square
from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.plan import Images, Intensity
from tests.fixtures.area_average import area_average
from tests.fixtures.dicom_files import read, write_mammogram

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


WINDOWED = Images(size=16, intensity=Intensity.WINDOW)
EQUALIZED = Images(size=16, intensity=Intensity.EQUALIZED)


def lut(bits: int) -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "US", [200, 1000, bits])
    item.add_new(0x00283006, "US", [round(((1 << bits) - 1) * (number / 199) ** 2) for number in range(200)])
    return item


def square(path: Path, images: Images) -> NDArray[np.float64]:
    return to_square(read(path, intensity=images.intensity), images) / SCALE


@pytest.mark.parametrize(
    "shown",
    [
        {"WindowCenter": 2000, "WindowWidth": 1500},
        {"WindowCenter": [2000, 100], "WindowWidth": [1500, 7], "VOILUTFunction": "LINEAR"},
        {"WindowCenter": 2000.5, "WindowWidth": 333.25, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 2000, "WindowWidth": 800, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 2000, "WindowWidth": 1},
        {"VOILUTSequence": [lut(12)], "WindowCenter": 1, "WindowWidth": 2},
        {"VOILUTSequence": [lut(16)]},
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_what_pydicom_shows(
    shown: dict[str, Any],
    photometric: str,
    tmp_path: Path,
    gradient: NDArray[np.uint16],
) -> None:
    inverted = photometric == "MONOCHROME1"
    path = write_mammogram(tmp_path / "a", gradient, BitsStored=12, PhotometricInterpretation=photometric, **shown)
    shown_by_pydicom = apply_voi_lut(gradient, pydicom.dcmread(path)).astype(np.float64)
    largest = 65535 if shown.get("VOILUTSequence") and shown["VOILUTSequence"][0].LUTDescriptor[2] == 16 else 4095
    expected = area_average(shown_by_pydicom / largest, 16)
    assert np.abs(square(path, WINDOWED) - (1 - expected if inverted else expected)).max() < 1e-3


def test_a_window_is_one_of_rescaled_values(tmp_path: Path, gradient: Any) -> None:
    attributes = {"RescaleSlope": -2, "RescaleIntercept": 100, "WindowCenter": -4000, "WindowWidth": 3000}
    path = write_mammogram(tmp_path / "a", gradient, BitsStored=12, VOILUTFunction="LINEAR_EXACT", **attributes)
    expected = area_average(np.clip((100 - 2.0 * gradient + 4000) / 3000 + 0.5, 0, 1), 16)
    assert np.abs(square(path, WINDOWED) - expected).max() < 1e-3


def test_signed_values_are_windowed(tmp_path: Path) -> None:
    pixels = np.linspace(-32768, 32767, 48 * 40).astype(np.int16).reshape(48, 40)
    path = write_mammogram(tmp_path / "a", pixels, WindowCenter=0, WindowWidth=20000, VOILUTFunction="LINEAR_EXACT")
    expected = area_average(np.clip(pixels / 20000 + 0.5, 0, 1), 16)
    assert np.abs(square(path, WINDOWED) - expected).max() < 1e-3
    assert np.abs(square(path, EQUALIZED) - area_average(np.arange(1920).reshape(48, 40) / 1919, 16)).max() < 1e-3


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ({}, Reason.NO_WINDOW),
        ({"WindowCenter": 5, "WindowWidth": 0}, Reason.WINDOW),
        ({"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, Reason.WINDOW),
    ],
)
def test_no_window(shown: dict[str, Any], reason: Reason, tmp_path: Path, gradient: Any) -> None:
    path = write_mammogram(tmp_path / "a", gradient, BitsStored=12, **shown)
    with pytest.raises(RejectedError) as caught:
        square(path, WINDOWED)
    assert caught.value.reason is reason


def test_equalized_images_are_alike_for_all_scanners(tmp_path: Path) -> None:
    """Values in any rising relation give the same image, whose levels are equally common."""
    ranks = np.random.default_rng(1).permutation(4096).reshape(64, 64)
    curve = np.cumsum(np.random.default_rng(2).integers(1, 16, 4096))
    one = square(write_mammogram(tmp_path / "a", ranks.astype(np.uint16), BitsStored=12), EQUALIZED)
    two = square(write_mammogram(tmp_path / "b", curve[ranks].astype(np.uint16), BitsStored=16), EQUALIZED)
    assert np.array_equal(one, two)
    assert np.abs(one - area_average(ranks / 4095, 16)).max() < 1e-3


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_darkest(
    syntax: Any,
    photometric: str,
    tmp_path: Path,
    gradient: NDArray[np.uint16],
) -> None:
    pixels = gradient // 2 + 500
    padded = pixels.copy()
    padded[:, 30:] = 4095
    padded[:5] = 4000
    inverted = photometric == "MONOCHROME1"
    attributes = {"BitsStored": 12, "PhotometricInterpretation": photometric}
    limits = {"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 4000}
    path = write_mammogram(tmp_path / "a", padded, syntax=syntax, **attributes, **limits)
    inside = pixels[5:, :30]
    expected = padded.copy()
    expected[:, 30:] = expected[:5] = inside.max() if inverted else inside.min()
    assert np.array_equal(read(path).pixels, expected)
    assert np.array_equal(read(write_mammogram(tmp_path / "b", pixels, PixelPaddingValue=7, **attributes)).pixels, pixels)


def test_nothing_but_padding(tmp_path: Path) -> None:
    path = write_mammogram(tmp_path / "a", np.full((40, 40), 7, np.uint16), PixelPaddingValue=7)
    with pytest.raises(RejectedError) as caught:
        read(path)
    assert caught.value.reason is Reason.BLANK

"""Headers that contradict themselves or the pixels: what is certain is taken, and the rest is refused by a reason of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEGLosslessSV1

from fedcli.imaging.pixels import SCALE, to_square
from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.plan import Images, Intensity
from tests.fixtures.dicom_files import read, write_encoded, write_mammogram

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ALL = tuple(intensity for intensity in Intensity if intensity is not Intensity.REFERENCE)


def square(path: Path, intensity: Intensity) -> NDArray[np.float64]:
    return to_square(read(path, intensity=intensity), Images(size=16, intensity=intensity)) / SCALE


def reason_of(path: Path, intensity: Intensity = Intensity.MIN_MAX) -> Reason:
    with pytest.raises(RejectedError) as caught:
        square(path, intensity)
    return caught.value.reason


@pytest.fixture
def breast() -> NDArray[np.uint16]:
    """Dark air, which most pixels are, and a half-ellipse of tissue."""
    y, x = np.mgrid[:60, :48]
    inside = ((y - 30) / 25) ** 2 + (x / 30) ** 2 < 1
    return np.where(inside, 1200 + 50 * x, 0).astype(np.uint16)


def raw(path: Path, **texts: bytes) -> Path:
    """Write attributes of VR DS as a device wrote them, valid or not."""
    dataset = pydicom.dcmread(path)
    for keyword, text in texts.items():
        tag = Tag(keyword)
        dataset[tag] = RawDataElement(tag, "DS", len(text), text, 0, is_implicit_VR=False, is_little_endian=True)
    dataset.save_as(path)
    return path


def lut(bits: int, order: str = "<", width: int = 2, largest: int | None = None) -> Dataset:
    """Return a table of 4096 entries that rise as squares, as bytes."""
    item = Dataset()
    item.LUTDescriptor = [4096, 0, bits]
    entries = (((1 << bits) - 1 if largest is None else largest) * (np.arange(4096) / 4095) ** 2).astype(int)
    item.LUTData = entries.astype(f"{order}u{width}").tobytes()
    item["LUTData"].VR = "OW"
    return item


# ---------------------------------------------------------------------------------------------------- windows and tables


@pytest.mark.parametrize("text", [b"2047,5", b"2.047,5", b"abc", b"nan", b"1e999"])
def test_a_window_that_is_no_number_is_a_fault_of_the_window(text: bytes, tmp_path: Path, breast: NDArray[np.uint16]) -> None:
    path = raw(write_mammogram(tmp_path / "a", breast, BitsStored=12), WindowCenter=text, WindowWidth=b"4096.0")
    assert reason_of(path, Intensity.WINDOW) is Reason.WINDOW
    assert square(path, Intensity.MIN_MAX).max() > 0.9


def test_a_rescale_that_is_no_number_is_a_fault_of_the_rescale(tmp_path: Path, breast: NDArray[np.uint16]) -> None:
    path = raw(write_mammogram(tmp_path / "a", breast, BitsStored=12), RescaleSlope=b"1,5", RescaleIntercept=b"0")
    assert all(reason_of(path, intensity) is Reason.VALUE for intensity in ALL)


@pytest.mark.parametrize(
    "shown",
    [
        {"WindowCenter": 0, "WindowWidth": 0},
        {"WindowCenter": "0.45", "WindowWidth": "0.9"},
        {"WindowCenter": 1, "WindowWidth": 1, "VOILUTFunction": "CUBIC"},
        {"VOILUTSequence": [lut(12, largest=65520)]},
        {"VOILUTSequence": [lut(16)[:0x00283006]]},
    ],
)
def test_what_the_plan_does_not_use_rejects_nothing(shown: dict[str, Any], tmp_path: Path, breast: NDArray[np.uint16]) -> None:
    path = write_mammogram(tmp_path / "a", breast, BitsStored=12, **shown)
    assert reason_of(path, Intensity.WINDOW) is Reason.WINDOW
    plain = write_mammogram(tmp_path / "b", breast, BitsStored=12)
    for intensity in set(ALL) - {Intensity.WINDOW}:
        assert np.array_equal(square(path, intensity), square(plain, intensity))


def test_a_function_in_lower_case_is_understood(tmp_path: Path, breast: NDArray[np.uint16]) -> None:
    window = {"BitsStored": 12, "WindowCenter": 2000, "WindowWidth": 4000}
    with pytest.warns(UserWarning, match="Invalid value for VR CS"):
        lower = write_mammogram(tmp_path / "a", breast, VOILUTFunction="Sigmoid", **window)
    upper = write_mammogram(tmp_path / "b", breast, VOILUTFunction="SIGMOID", **window)
    assert np.array_equal(square(lower, Intensity.WINDOW), square(upper, Intensity.WINDOW))


@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_table_is_read_in_the_byte_order_of_its_file(keyword: str, tmp_path: Path, breast: NDArray[np.uint16]) -> None:
    images = []
    for order, syntax in (("<", ExplicitVRLittleEndian), (">", ExplicitVRBigEndian)):
        shown: dict[str, Any] = {keyword: [lut(16, order)], "BitsStored": 12, "WindowCenter": 2**15, "WindowWidth": 2**16}
        images.append(square(write_mammogram(tmp_path / order, breast, syntax=syntax, **shown), Intensity.WINDOW))
    assert np.array_equal(*images)
    assert 0 < np.median(images[0][:, 0]) < 0.5


@pytest.mark.parametrize(("bits", "width"), [(8, 1), (8, 2), (12, 2), (16, 2)])
def test_tables_of_all_depths_show_the_same(bits: int, width: int, tmp_path: Path, breast: NDArray[np.uint16]) -> None:
    path = write_mammogram(tmp_path / "a", breast, BitsStored=12, VOILUTSequence=[lut(bits, width=width)])
    deep = write_mammogram(tmp_path / "b", breast, BitsStored=12, VOILUTSequence=[lut(16)])
    assert np.abs(square(path, Intensity.WINDOW) - square(deep, Intensity.WINDOW)).max() < 2 / (1 << bits)
    values = write_mammogram(tmp_path / "c", breast, BitsStored=12, ModalityLUTSequence=[lut(bits, width=width)])
    assert np.abs(square(values, Intensity.STORED_RANGE) - square(deep, Intensity.WINDOW)).max() < 2 / (1 << bits)


# -------------------------------------------------------------------------------------------------------------- sizes


def test_more_bits_than_stored_are_refused_unless_they_are_an_overlay(tmp_path: Path, breast: NDArray[np.uint16]) -> None:
    path = write_mammogram(tmp_path / "a", breast * 4, BitsStored=10, HighBit=9)
    assert reason_of(path) is Reason.SPARE_BITS
    overlaid = write_mammogram(tmp_path / "b", breast | 0x4000, BitsStored=12)
    dataset = pydicom.dcmread(overlaid)
    dataset.add_new(0x60000102, "US", 14)
    dataset.save_as(overlaid)
    assert np.array_equal(read(overlaid).pixels, breast)


@pytest.mark.parametrize("lie", [{"NumberOfFrames": None}, {"NumberOfFrames": 2}, {"NumberOfFrames": None, "Rows": 30}])
def test_pixel_data_that_hold_more_frames_than_the_header_says(
    lie: dict[str, Any], tmp_path: Path, breast: NDArray[np.uint16]
) -> None:
    frames = np.stack([breast, breast, breast])
    assert reason_of(write_mammogram(tmp_path / "a", frames, BitsStored=12, **lie)) is Reason.TOO_LONG


def test_bytes_after_the_last_frame_do_not_matter(tmp_path: Path, breast: NDArray[np.uint16]) -> None:
    padded = breast.astype("<u2").tobytes() + bytes(512)
    assert np.array_equal(read(write_mammogram(tmp_path / "a", breast, PixelData=padded, BitsStored=12)).pixels, breast)


@pytest.mark.parametrize("zeros", [0, 1, 16, 64])
def test_zeros_after_the_end_of_a_codestream_do_not_matter(zeros: int, tmp_path: Path, breast: NDArray[np.uint16]) -> None:
    path = write_encoded(tmp_path / "a", breast, JPEGLosslessSV1, BitsStored=12)
    dataset = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)).rstrip(b"\0")
    dataset.PixelData = pydicom.encaps.encapsulate([frame + bytes(zeros)])
    dataset.save_as(path)
    assert np.array_equal(read(path).pixels, breast)


def test_pixel_data_of_unknown_representation(tmp_path: Path, breast: NDArray[np.uint16]) -> None:
    path = write_mammogram(tmp_path / "a", breast, BitsStored=12)
    dataset = pydicom.dcmread(path)
    dataset["PixelData"].VR = "UN"
    dataset.save_as(path)
    assert b"\xe0\x7f\x10\x00UN" in path.read_bytes()
    assert np.array_equal(read(path).pixels, breast)


# ---------------------------------------------------------------------------------------------------- which end is white


@pytest.mark.parametrize("intensity", ALL)
@pytest.mark.parametrize(("photometric", "shape"), [("MONOCHROME2", "INVERSE"), ("MONOCHROME1", "IDENTITY")])
def test_where_two_attributes_contradict_each_other_air_is_dark(
    photometric: str, shape: str, intensity: Intensity, tmp_path: Path, breast: NDArray[np.uint16]
) -> None:
    window = {"BitsStored": 12, "WindowWidth": 4095, "VOILUTFunction": "LINEAR_EXACT"}
    right = square(write_mammogram(tmp_path / "right", breast, WindowCenter=2000, **window), intensity)
    for name, pixels, centre in (("bright", breast, 2000), ("dark", 4095 - breast, 2095)):
        shown = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape, "WindowCenter": centre}
        path = write_mammogram(tmp_path / name, pixels, **shown, **window)
        assert np.abs(square(path, intensity) - right).max() < 1e-3
        assert read(path).metadata.contradictory


@pytest.mark.parametrize(("photometric", "shape"), [("MONOCHROME2", "IDENTITY"), ("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "")])
def test_consistent_attributes_decide(photometric: str, shape: str, tmp_path: Path, breast: NDArray[np.uint16]) -> None:
    """Even where air is then bright: nothing is guessed."""
    path = write_mammogram(
        tmp_path / "a", 4095 - breast, BitsStored=12, PhotometricInterpretation=photometric, PresentationLUTShape=shape
    )
    mammogram = read(path)
    assert mammogram.inverted == (photometric == "MONOCHROME1")
    assert not mammogram.metadata.contradictory


@pytest.mark.parametrize("intensity", ALL)
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_padding_with_the_value_of_air_moves_nothing(
    photometric: str, intensity: Intensity, tmp_path: Path, breast: NDArray[np.uint16]
) -> None:
    """Air is darkest whether the file calls it padding or not, in an image whose tissue does not reach that value."""
    pixels = breast if photometric == "MONOCHROME2" else 4095 - breast
    air = int(pixels[0, 0])
    shown: dict[str, Any] = {
        "BitsStored": 12,
        "PhotometricInterpretation": photometric,
        "WindowCenter": 2000,
        "WindowWidth": 4000,
    }
    present = square(write_mammogram(tmp_path / "a", pixels, PixelPaddingValue=air, **shown), intensity)
    absent = square(write_mammogram(tmp_path / "b", pixels, **shown), intensity)
    assert present[0, -1] == 0
    assert absent[0, -1] < 0.02
    if intensity in {Intensity.STORED_RANGE, Intensity.WINDOW}:
        assert np.abs(present - absent).max() < 0.02

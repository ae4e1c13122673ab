"""Reading one file: values, metadata, and reasons for what cannot be read."""

from __future__ import annotations

import random
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    MPEG2MPML,
    BreastTomosynthesisImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from fedcli.imaging.dicom import header
from fedcli.imaging.rejection import Reason, RejectedError
from tests.fixtures.dicom_files import grey_of, read, write_mammogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.imaging.mammogram import Mammogram

# Samples that break the standard are written with pydicom, which says so.
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR", "ignore:The pixel data is")

READABLE = (
    "CT_small.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG2000.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_padded.dcm",
    "image_dfl.dcm",
    "rtdose.dcm",
    "rtdose_expb.dcm",
    "rtdose_rle.dcm",
)
REJECTED = {
    "CT_small.dcm": Reason.OTHER_MODALITY,
    "MR_truncated.dcm": Reason.CONTRADICTION,
    "SC_rgb_rle.dcm": Reason.NOT_GREY,
    "liver_1frame.dcm": Reason.DEPTH,
    "waveform_ecg.dcm": Reason.NO_PIXELS,
    "test1.json": Reason.NOT_DICOM,
    "zipMR.gz": Reason.NOT_DICOM,
}


def reason_of(path: Path) -> Reason:
    with pytest.raises(RejectedError) as caught:
        read(path)
    return caught.value.reason


def grey_range_of(mammogram: Mammogram) -> tuple[NDArray[np.float64], float, float]:
    """Return grey values, brighter is denser, and the ends of their range."""
    low, high = sorted(end * mammogram.slope + mammogram.intercept for end in (mammogram.low, mammogram.high))
    return grey_of(mammogram), low, high


def as_mammogram(name: str, folder: Path) -> Path:
    """Copy one of pydicom's files as if it were of modality MG."""
    dataset = pydicom.dcmread(str(get_testdata_file(name, download=False)))
    dataset.Modality = "MG"
    dataset.save_as(folder / "copy.dcm")
    return folder / "copy.dcm"


def test_cbis_side_and_view(cbis: Path) -> None:
    views = {}
    for path in sorted(cbis.rglob("*.dcm")):
        metadata = read(path).metadata
        views[metadata.patient] = (metadata.laterality, metadata.view)
        assert (metadata.bits, metadata.image_type, metadata.detector) == (16, "2D", "")
    assert views == {
        f"Mass-Test_{patient}_{side}_{view}": (side[0], view)
        for patient in ("P_00173", "P_00820")
        for side in ("LEFT", "RIGHT")
        for view in ("CC", "MLO")
    }


def test_orientation_is_as_stored(cbis: Path) -> None:
    path = cbis / "sfm-benign-0" / "1-130.dcm"
    mammogram = read(path)
    assert mammogram.pixels.shape == (mammogram.metadata.rows, mammogram.metadata.columns) == (4432, 2864)
    assert np.array_equal(mammogram.pixels, pydicom.dcmread(path).pixel_array)


@pytest.mark.parametrize("name", READABLE)
def test_same_values_as_pydicom(name: str, tmp_path: Path) -> None:
    mammogram = read(as_mammogram(name, tmp_path))
    dataset = pydicom.dcmread(str(get_testdata_file(name, download=False)))
    frames = int(dataset.get("NumberOfFrames") or 1)
    expected = dataset.pixel_array if frames == 1 else dataset.pixel_array[frames // 2]
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    values, low, high = grey_range_of(mammogram)
    assert np.array_equal(values, expected * slope + intercept)
    assert low <= values.min() < values.max() <= high


@pytest.mark.parametrize(("name", "reason"), REJECTED.items())
def test_reasons(name: str, reason: Reason, tmp_path: Path) -> None:
    original = Path(str(get_testdata_file(name, download=False)))
    untouched = {Reason.OTHER_MODALITY, Reason.NOT_DICOM}
    assert reason_of(original if reason in untouched else as_mammogram(name, tmp_path)) is reason


def test_monochrome1_is_inverted(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    path = write_mammogram(tmp_path / "a", gradient, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    values, low, high = grey_range_of(read(path))
    assert np.array_equal(values, 4095 - gradient)
    assert (low, high) == (0, 4095)


def test_signed_pixels(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    signed = gradient.astype(np.int16) - 2048
    stored = signed & 0x0FFF  # the sign is not extended
    plain = read(write_mammogram(tmp_path / "a", stored, BitsStored=12))
    assert np.array_equal(plain.pixels, signed)
    assert (plain.low, plain.high) == (-2048, 2047)
    inverted = read(write_mammogram(tmp_path / "b", stored, BitsStored=12, PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(grey_range_of(inverted)[0], -1 - signed)


def test_high_bit(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    mammogram = read(write_mammogram(tmp_path / "a", (gradient << 4) | 9, BitsStored=12, HighBit=15))
    assert np.array_equal(mammogram.pixels, gradient)
    assert (mammogram.high, mammogram.metadata.bits) == (4095, 12)


def test_rescale(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    falling: dict[str, Any] = {"BitsStored": 12, "RescaleSlope": -0.5, "RescaleIntercept": 7}
    values, low, high = grey_range_of(read(write_mammogram(tmp_path / "a", gradient, **falling)))
    assert np.array_equal(values, 7 - gradient / 2)
    assert (low, high) == (7 - 4095 / 2, 7)
    inverted = read(write_mammogram(tmp_path / "b", gradient, **falling, PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(grey_range_of(inverted)[0], 7 - 4095 / 2 + gradient / 2)
    assert reason_of(write_mammogram(tmp_path / "c", gradient, RescaleSlope=0, RescaleIntercept=0)) is Reason.VALUE


def test_modality_lut(tmp_path: Path) -> None:
    lut = Dataset()
    lut.add_new(0x00283002, "US", [256, 0, 16])
    lut.ModalityLUTType = "US"
    lut.add_new(0x00283006, "US", [257 * value for value in range(255, -1, -1)])
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    mammogram = read(write_mammogram(tmp_path / "a", pixels, ModalityLUTSequence=[lut]))
    assert np.array_equal(mammogram.pixels, 257 * (255 - pixels.astype(int)))
    assert (mammogram.low, mammogram.high) == (0, 65535)


def test_middle_slice(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    transformation, anatomy, group = Dataset(), Dataset(), Dataset()
    transformation.RescaleSlope, transformation.RescaleIntercept = 2, 1
    anatomy.FrameLaterality = "R"
    group.PixelValueTransformationSequence, group.FrameAnatomySequence = [transformation], [anatomy]
    slices = np.stack([gradient, gradient // 2, gradient // 3, gradient // 5])
    attributes: dict[str, Any] = {"SharedFunctionalGroupsSequence": [group], "ImageLaterality": None}
    path = write_mammogram(tmp_path / "a", slices, SOPClassUID=BreastTomosynthesisImageStorage, **attributes)
    mammogram = read(path)
    assert np.array_equal(grey_of(mammogram), 2 * (gradient // 3) + 1)
    assert (mammogram.metadata.image_type, mammogram.metadata.laterality) == ("tomosynthesis", "R")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_syntaxes(syntax: Any, tmp_path: Path, gradient: Any) -> None:
    assert np.array_equal(read(write_mammogram(tmp_path / "a", gradient, syntax=syntax)).pixels, gradient)


def test_without_preamble(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    dataset = pydicom.dcmread(write_mammogram(tmp_path / "a", gradient, syntax=ImplicitVRLittleEndian))
    bare = Dataset(dataset)
    bare.save_as(tmp_path / "b", implicit_vr=True, little_endian=True)
    assert np.array_equal(read(tmp_path / "b").pixels, gradient)


def test_what_leaves_the_site_is_a_defined_term(tmp_path: Path, gradient: Any) -> None:
    written: dict[str, Any] = {"DetectorType": "ROOM_OF_MRS_DOE", "ViewPosition": "DOE", "ImageLaterality": "X"}
    metadata = read(write_mammogram(tmp_path / "a", gradient, **written)).metadata
    assert (metadata.detector, metadata.view, metadata.laterality) == ("OTHER", "", "")
    assert read(write_mammogram(tmp_path / "b", gradient, DetectorType="direct")).metadata.detector == "DIRECT"


@pytest.mark.parametrize(
    ("attributes", "date"),
    [
        ({"StudyDate": "20200131", "AcquisitionDate": "20200201"}, "20200131"),
        ({"StudyDate": "2020.01.31"}, "20200131"),
        ({"StudyDate": "", "AcquisitionDate": "20200201"}, "20200201"),
        ({}, ""),
    ],
)
def test_the_date_of_an_exam(attributes: dict[str, str], date: str, tmp_path: Path, gradient: Any) -> None:
    assert read(write_mammogram(tmp_path / "a", gradient, **attributes)).metadata.date == date


@pytest.mark.filterwarnings("error")
def test_no_warning_quotes_an_identifier(tmp_path: Path, gradient: Any) -> None:
    path = write_mammogram(tmp_path / "a", gradient)
    uid = pydicom.dcmread(path).StudyInstanceUID.encode()
    path.write_bytes(path.read_bytes().replace(uid, b"not a uid: Jane Doe".ljust(len(uid), b".")))
    assert read(path).metadata.study.startswith("not a uid")


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Modality": "CT"}, Reason.OTHER_MODALITY),
        ({"Modality": None}, Reason.OTHER_MODALITY),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, Reason.NOT_GREY),
        ({"SamplesPerPixel": 3}, Reason.NOT_GREY),
        ({"Rows": 65535, "Columns": 65535}, Reason.TOO_LARGE),
        ({"Rows": 8192, "Columns": 8192, "NumberOfFrames": 10**9}, Reason.TOO_LARGE),
        ({"Rows": 0}, Reason.CONTRADICTION),
        ({"Rows": None}, Reason.CONTRADICTION),
        ({"Rows": 49}, Reason.CONTRADICTION),
        ({"NumberOfFrames": 7}, Reason.CONTRADICTION),
        ({"BitsStored": 17}, Reason.CONTRADICTION),
        ({"BitsStored": 12, "HighBit": 16}, Reason.CONTRADICTION),
        ({"BitsAllocated": 24}, Reason.DEPTH),
        ({"PixelRepresentation": 2}, Reason.CONTRADICTION),
    ],
)
def test_lies(attributes: dict[str, Any], reason: Reason, tmp_path: Path, gradient: Any) -> None:
    assert reason_of(write_mammogram(tmp_path / "a", gradient, **attributes)) is reason


def test_syntax_of_a_film(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    path = write_mammogram(tmp_path / "a", gradient)
    content = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", MPEG2MPML.encode()[:19] + b"\0")
    path.write_bytes(content)
    assert reason_of(path) is Reason.UNSUPPORTED


def test_deflate_bomb(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    path = write_mammogram(tmp_path / "a", gradient, syntax=DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    begin = 144 + int.from_bytes(content[140:144], "little")
    deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(1 << 24)
    bomb = b"".join(deflater.compress(zeros) for _ in range(header.MAX_INFLATED_BYTES // len(zeros) + 2)) + deflater.flush()
    path.write_bytes(content[:begin] + bomb)
    assert reason_of(path) is Reason.TOO_LARGE


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert reason_of(tmp_path / "empty") is Reason.NOT_DICOM
    assert reason_of(tmp_path / "missing") is Reason.UNREADABLE
    assert reason_of(tmp_path) is Reason.UNREADABLE


@pytest.mark.parametrize("syntax", ["native", "rle"])
def test_damage_is_rejected_or_harmless(syntax: str, tmp_path: Path, gradient: Any) -> None:
    """Whatever happens to the bytes, the outcome is a reason or an image of the stated size."""
    path = write_mammogram(tmp_path / "a", gradient)
    if syntax == "rle":
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    content = path.read_bytes()
    generator = random.Random(7)
    reasons = set()
    for _ in range(300):
        damaged = bytearray(content[: generator.choice([len(content), generator.randrange(len(content))])])
        for _ in range(generator.choice([1, 8, 64])):
            # Most damage in the header, where it matters most.
            if damaged:
                position = generator.randrange(min(len(damaged), generator.choice([800, len(content)])))
                damaged[position] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            mammogram = read(path)
        except RejectedError as rejected:
            reasons.add(rejected.reason)
        else:
            assert mammogram.pixels.shape == (mammogram.metadata.rows, mammogram.metadata.columns)
    assert len(reasons) >= 4


@pytest.mark.parametrize(("stored", "identifier"), [("MÜ1".encode(), "MÜ1"), ("MÜ2".encode("latin-1"), "MÜ2"), (b"A\\B", "A\\B")])
def test_an_identifier_beyond_the_standards_characters_is_read_as_it_was_meant(
    tmp_path: Path, stored: bytes, identifier: str
) -> None:
    path = write_mammogram(tmp_path / "image.dcm", np.arange(64, dtype=np.uint16).reshape(8, 8))
    dataset = pydicom.dcmread(path)
    tag = pydicom.tag.Tag("PatientID")
    value = stored + b" " * (len(stored) % 2)
    dataset[tag] = pydicom.dataelem.RawDataElement(tag, "LO", len(value), value, 0, False, True)  # noqa: FBT003
    dataset.save_as(path)
    assert read(path).metadata.patient == identifier

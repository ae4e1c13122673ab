"""Every transfer syntax, every depth, several frames: the stored values that were written, and prepared images that are right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from fedcli.imaging.dicom.decoders import DECODERS
from fedcli.imaging.dicom.syntaxes import SYNTAXES, decodable
from fedcli.imaging.pixels import SCALE, to_square
from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.plan import Frames, Images
from tests.fixtures.area_average import area_average
from tests.fixtures.dicom_files import ENCODERS, LOSSLESS, NATIVE, grey_of, read, write_encoded, write_mammogram

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def noisy(bits: int, shape: tuple[int, ...] = (130, 110)) -> NDArray[Any]:
    """Return values from end to end, with noise of a quarter of the range, which every codec can still compress."""
    white = (1 << bits) - 1
    noise = np.random.default_rng(bits).normal(0, white / 8, shape)
    ramp = np.linspace(0, white, shape[-2] * shape[-1]).reshape(shape[-2:])
    return np.rint(np.clip(ramp + noise, 0, white)).astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_what_was_written_is_read(syntax: uid.UID, bits: int, tmp_path: Path) -> None:
    pixels = noisy(bits)
    mammogram = read(write_encoded(tmp_path / "a", pixels, syntax, BitsStored=bits))
    assert np.array_equal(mammogram.pixels, pixels)
    assert (mammogram.low, mammogram.high, mammogram.metadata.syntax) == (0, (1 << bits) - 1, syntax)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("levels", [2, 17, 4096])
def test_prepared_images_agree_with_an_area_average_in_float64(syntax: uid.UID, levels: int, tmp_path: Path) -> None:
    """Also where an image uses few of its levels: 1e-3 of the range that it uses."""
    pixels = np.random.default_rng(levels).integers(0, levels, (300, 230)).astype(np.uint16)
    path = write_encoded(tmp_path / "a", pixels, syntax, BitsStored=12)
    pixels = pydicom.dcmread(path).pixel_array
    expected = (area_average(pixels, 32) - pixels.min()) / float(np.ptp(pixels))
    assert np.abs(to_square(read(path), Images(size=32)) / SCALE - expected).max() < 1e-3


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_frames_become_one_image(syntax: uid.UID, photometric: str, tmp_path: Path) -> None:
    slices = noisy(12, (5, 40, 30))
    inverted = photometric == "MONOCHROME1"
    path = write_encoded(tmp_path / "a", slices, syntax, BitsStored=12, PhotometricInterpretation=photometric)
    grey = (4095.0 - slices) if inverted else slices.astype(np.float64)
    assert np.array_equal(grey_of(read(path, frames=Frames.MIDDLE)), grey[2])
    assert np.array_equal(grey_of(read(path, frames=Frames.MAXIMUM)), grey.max(axis=0))
    assert np.allclose(grey_of(read(path, frames=Frames.MEAN)), grey.mean(axis=0), rtol=0, atol=1e-3)


def test_frames_of_several_fragments_without_a_table_of_offsets(tmp_path: Path) -> None:
    pixels = noisy(12)
    path = write_encoded(tmp_path / "a", pixels, uid.JPEGLosslessSV1, BitsStored=12)
    dataset = pydicom.dcmread(path)
    frame = bytes(ENCODERS[uid.JPEGLosslessSV1](pixels, 12))
    dataset.PixelData = encapsulate([frame], fragments_per_frame=3, has_bot=False)
    dataset.save_as(path)
    assert np.array_equal(read(path).pixels, pixels)


@pytest.mark.parametrize("syntax", list(ENCODERS), ids=lambda syntax: syntax.name)
@pytest.mark.parametrize(("rows", "columns"), [(131, 110), (130, 111), (20000, 20000), (3000, 3000)])
def test_a_codestream_of_another_size_is_a_contradiction(syntax: uid.UID, rows: int, columns: int, tmp_path: Path) -> None:
    path = write_encoded(tmp_path / "a", noisy(12), syntax, BitsStored=12)
    dataset = pydicom.dcmread(path)
    dataset.Rows, dataset.Columns = rows, columns
    dataset.save_as(path)
    with pytest.raises(RejectedError) as caught:
        read(path)
    assert caught.value.reason is (Reason.TOO_LARGE if rows * columns > 1 << 26 else Reason.CONTRADICTION)


@pytest.mark.parametrize("syntax", [syntax for syntax in LOSSLESS if syntax not in NATIVE], ids=lambda syntax: syntax.name)
def test_a_codestream_without_its_end_is_rejected(syntax: uid.UID, tmp_path: Path) -> None:
    """Some codecs fill in silently what is missing."""
    path = write_encoded(tmp_path / "a", noisy(12), syntax, BitsStored=12)
    dataset = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame[: len(frame) // 2]])
    dataset.save_as(path)
    with pytest.raises(RejectedError) as caught:
        read(path)
    assert caught.value.reason in {Reason.TRUNCATED, Reason.UNDECODABLE}


def test_pixels_that_are_compressed_without_saying_so(tmp_path: Path) -> None:
    path = write_mammogram(tmp_path / "a", noisy(12), BitsStored=12)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([bytes(ENCODERS[uid.JPEGLSLossless](noisy(12), 12))])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(RejectedError) as caught:
        read(path)
    assert caught.value.reason is Reason.CONTRADICTION


def test_every_syntax_has_a_decoder_here() -> None:
    assert {syntax.identifier for syntax in SYNTAXES} == {*NATIVE, *DECODERS}
    assert all(decodable().values())

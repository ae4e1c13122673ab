"""Several frames become one image: each with its own padding and its own rescale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import BreastTomosynthesisImageStorage

from fedcli.imaging.pixels import SCALE, to_square
from fedcli.plan import Frames, Images, Intensity
from tests.fixtures.dicom_files import grey_of, read, rescaled_frames, write_mammogram

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PADDING = 4095


@pytest.fixture
def volume() -> NDArray[np.uint16]:
    return np.random.default_rng(1).integers(100, 3000, (4, 48, 40)).astype(np.uint16)


def padded(volume: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the frames with a strip of padding each, a little elsewhere; the first row is padding everywhere."""
    result = volume.copy()
    for number, frame in enumerate(result):
        frame[:, 5 * number : 5 * number + 8] = PADDING
    result[:, 0] = PADDING
    return result


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("frames", [Frames.MEAN, Frames.MAXIMUM])
def test_padding_of_a_frame_takes_no_part(frames: Frames, photometric: str, tmp_path: Path, volume: NDArray[np.uint16]) -> None:
    stored = padded(volume)
    path = write_mammogram(
        tmp_path / "a", stored, BitsStored=12, PhotometricInterpretation=photometric, PixelPaddingValue=PADDING
    )
    mammogram = read(path, frames=frames)
    masked = np.ma.masked_equal(stored, PADDING)
    inverted = photometric == "MONOCHROME1"
    expected = masked.mean(axis=0) if frames is Frames.MEAN else masked.min(axis=0) if inverted else masked.max(axis=0)
    everywhere = expected.mask
    assert everywhere[0].all()
    assert not everywhere[1:].any()
    assert np.allclose(mammogram.pixels[~everywhere], expected.data[~everywhere])
    darkest = expected.max() if inverted else expected.min()
    assert np.allclose(mammogram.pixels[everywhere], darkest)
    for intensity in Intensity:
        if intensity not in {Intensity.WINDOW, Intensity.REFERENCE}:
            assert not to_square(mammogram, Images(size=48, intensity=intensity))[0].any()


@pytest.mark.parametrize("frames", [Frames.MEAN, Frames.MAXIMUM])
def test_a_volume_without_padding_is_as_before(frames: Frames, tmp_path: Path, volume: NDArray[np.uint16]) -> None:
    mammogram = read(write_mammogram(tmp_path / "a", volume, BitsStored=12), frames=frames)
    expected = volume.mean(axis=0, dtype=np.float32) if frames is Frames.MEAN else volume.max(axis=0)
    assert np.allclose(mammogram.pixels, expected)


@pytest.mark.parametrize("frames", list(Frames))
def test_every_frame_has_its_own_rescale(frames: Frames, tmp_path: Path, volume: NDArray[np.uint16]) -> None:
    rescales = [(1.0, 0.0), (2.0, -100.0), (0.5, 50.0), (1.5, 7.0)]
    attributes: dict[str, Any] = {"BitsStored": 12, "PerFrameFunctionalGroupsSequence": rescaled_frames(rescales)}
    path = write_mammogram(tmp_path / "a", volume, SOPClassUID=BreastTomosynthesisImageStorage, **attributes)
    values = np.stack([slope * frame + intercept for (slope, intercept), frame in zip(rescales, volume, strict=True)])
    expected = {Frames.MIDDLE: values[2], Frames.MEAN: values.mean(axis=0), Frames.MAXIMUM: values.max(axis=0)}[frames]
    mammogram = read(path, frames=frames)
    assert np.allclose(grey_of(mammogram), expected, rtol=1e-5)
    if frames is not Frames.MIDDLE:
        assert (mammogram.low, mammogram.high) == (-100.0, 2 * 4095 - 100.0)


@pytest.mark.parametrize("frames", [Frames.MEAN, Frames.MAXIMUM])
def test_a_modality_table_is_applied_before_frames_are_combined(
    frames: Frames, tmp_path: Path, volume: NDArray[np.uint16]
) -> None:
    table = Dataset()
    table.add_new(0x00283002, "US", [4096, 0, 16])
    table.add_new(0x00283006, "US", [round(65535 * (number / 4095) ** 2) for number in range(4096)])
    path = write_mammogram(tmp_path / "a", volume, BitsStored=12, ModalityLUTSequence=[table])
    values = np.rint(65535 * (volume / 4095) ** 2)
    expected = values.mean(axis=0) if frames is Frames.MEAN else values.max(axis=0)
    assert np.abs(read(path, frames=frames).pixels - expected).max() <= 1
    assert read(path, frames=frames).high == SCALE

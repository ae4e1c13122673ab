"""What is not an ordinary view of a whole breast is left out by its own reason, unless the plan includes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from fedcli.imaging.archive.image_archive import ImageArchive, PatientRule
from fedcli.imaging.archive.reading import read_all
from fedcli.imaging.rejection import Reason
from fedcli.plan import Images, ModifiedViews, ViewPosition
from fedcli.progress import Silent
from tests.fixtures.dicom_files import write_mammogram

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MG = uid.DigitalMammographyXRayImageStorageForPresentation


def viewed(*modifiers: str) -> list[Dataset]:
    """Return a medio-lateral oblique view with modifiers of SNOMED CT."""
    view = Dataset()
    view.CodeValue = "399368009"
    view.ViewModifierCodeSequence = [Dataset() for _ in modifiers]
    for item, code in zip(view.ViewModifierCodeSequence, modifiers, strict=True):
        item.CodeValue = code
    return [view]


OTHERS: dict[str, tuple[dict[str, Any], Reason]] = {
    "magnification": ({"ViewCodeSequence": viewed("399163009")}, Reason.MODIFIED_VIEW),
    "magnified, says the factor": ({"EstimatedRadiographicMagnificationFactor": "1.8"}, Reason.MODIFIED_VIEW),
    "spot compression": ({"ViewCodeSequence": viewed("399055006"), "PartialView": "YES"}, Reason.MODIFIED_VIEW),
    "partial": ({"PartialView": "YES"}, Reason.MODIFIED_VIEW),
    "implant displaced": ({"ViewCodeSequence": viewed("399209000")}, Reason.MODIFIED_VIEW),
    "rolled": ({"ViewCodeSequence": viewed("399197002")}, Reason.MODIFIED_VIEW),
    "specimen": ({"ImageType": ["ORIGINAL", "PRIMARY", "SPECIMEN"]}, Reason.NO_BREAST),
    "specimen, says the body part": ({"BodyPartExamined": "SPECIMEN"}, Reason.NO_BREAST),
    "stereotactic": ({"ImageType": ["ORIGINAL", "PRIMARY", "STEREO_PLUS"]}, Reason.BIOPSY),
    "recombined": ({"ImageType": ["DERIVED", "PRIMARY", "RECOMBINED"]}, Reason.CONTRAST),
    "projections": ({"ImageType": ["ORIGINAL", "PRIMARY", "TOMO_PROJ", "RAW"]}, Reason.PROJECTION),
    "projections, says the class": (
        {"SOPClassUID": uid.BreastProjectionXRayImageStorageForProcessing},
        Reason.PROJECTION,
    ),
    "a slice as CT": ({"SOPClassUID": uid.CTImageStorage}, Reason.SLICE),
    "a slice as MG": ({"ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "NONE"]}, Reason.SLICE),
    "a placeholder": (
        {"SOPClassUID": uid.SecondaryCaptureImageStorage, "ImageLaterality": None, "ViewPosition": None},
        Reason.CAPTURE,
    ),
}
SCREENING: dict[str, dict[str, Any]] = {
    "plain": {},
    "no view": {"ViewPosition": None},
    "a view without modifiers": {"ViewCodeSequence": viewed()},
    "contact, says the factor": {"EstimatedRadiographicMagnificationFactor": "1.06"},
    "the low-energy image of two": {"ImageType": ["ORIGINAL", "PRIMARY", "LOW_ENERGY"], "ContrastBolusAgent": "IODINE"},
    "synthetic": {"ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]},
    "a secondary capture with a side": {"SOPClassUID": uid.SecondaryCaptureImageStorage},
    "burned-in text": {"BurnedInAnnotation": "YES"},
}


def taken(folder: Path, **settings: Any) -> tuple[dict[str, Any], dict[str, Reason]]:
    """Return the metadata of the images that are taken, and the reasons of all others, by file."""
    files = tuple(sorted(path.name for path in folder.iterdir()))
    archive = ImageArchive(folder=folder, patient_rule=PatientRule(), workers=1)
    with (folder.parent / "scratch").open("wb") as scratch:
        accepted, rejected = read_all(archive, files, Images(size=16, **settings), scratch=scratch, details={}, progress=Silent())
    return {item.file: item.metadata for item in accepted}, {item.file: item.reason for item in rejected}


def written(folder: Path, files: dict[str, dict[str, Any]], pixels: NDArray[Any]) -> Path:
    folder.mkdir()
    for name, attributes in files.items():
        every: dict[str, Any] = {"SOPClassUID": MG, "ViewPosition": "MLO"} | attributes
        write_mammogram(folder / name, pixels, **{key: value for key, value in every.items() if value or key != "ViewPosition"})
    return folder


def test_each_is_left_out_by_its_reason_and_screening_views_are_taken(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    folder = written(tmp_path / "a", {name: item[0] for name, item in OTHERS.items()} | SCREENING, gradient)
    accepted, rejected = taken(folder)
    assert rejected == {name: reason for name, (_, reason) in OTHERS.items()}
    assert set(accepted) == set(SCREENING)
    assert [name for name, metadata in accepted.items() if metadata.annotated] == ["burned-in text"]
    everything, nothing = taken(folder, modified_views=ModifiedViews.INCLUDE)
    assert (set(everything), nothing) == ({*OTHERS, *SCREENING}, {})


def test_a_plan_that_names_views_takes_these_and_images_without_one(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    views = {"CC": "CC", "MLO": "MLO", "ML": "ML", "none": None}
    folder = written(tmp_path / "a", {name: {"ViewPosition": view} for name, view in views.items()}, gradient)
    accepted, rejected = taken(folder, views=(ViewPosition.CC, ViewPosition.MLO))
    assert (set(accepted), rejected) == ({"CC", "MLO", "none"}, {"ML": Reason.OTHER_VIEW})


@pytest.mark.parametrize("modified_views", list(ModifiedViews))
def test_a_spot_view_never_displaces_the_volume(
    modified_views: ModifiedViews, tmp_path: Path, gradient: NDArray[np.uint16]
) -> None:
    same = {"PatientID": "p", "StudyInstanceUID": "1.2.3"}
    folder = written(tmp_path / "a", {"spot": same | {"ViewCodeSequence": viewed("399055006")}}, gradient)
    slices = np.stack([gradient, gradient // 2, gradient // 3])
    write_mammogram(folder / "volume", slices, SOPClassUID=uid.BreastTomosynthesisImageStorage, ViewPosition="MLO", **same)
    accepted, _ = taken(folder, modified_views=modified_views)
    assert "volume" in accepted
    write_mammogram(folder / "whole", gradient, SOPClassUID=MG, ViewPosition="MLO", **same)
    accepted, rejected = taken(folder, modified_views=modified_views)
    assert rejected["volume"] is Reason.HAS_2D
    assert "whole" in accepted

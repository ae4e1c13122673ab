"""Whose images a plan takes: modalities with their body part, sex and age, in `prepare` and in what `--check` predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from pydicom.dataset import Dataset

from fedcli import wire
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.archive.reading import read_all
from fedcli.imaging.dicom.person import age_of, sex_of
from fedcli.imaging.rejection import Reason
from fedcli.plan import Images, Modality, Sex
from fedcli.progress import Silent
from tests.fixtures.dicom_files import write_mammogram

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

BREAST = {"BodyPartExamined": "BREAST"}


def outcomes(folder: Path, files: dict[str, dict[str, Any]], pixels: NDArray[Any], **settings: Any) -> dict[str, Reason | None]:
    """Return why each file is left out, None for those that are taken, after a look at the headers only has said the same."""
    folder.mkdir()
    for name, attributes in files.items():
        write_mammogram(folder / name, pixels, PatientID=name, ViewPosition="CC", **attributes)
    archive = ImageArchive(folder=folder, workers=1)
    images = Images(size=16, **settings)
    with (folder.parent / "scratch").open("wb") as scratch:
        results = [
            read_all(archive, tuple(files), images, scratch=target, details={}, progress=Silent()) for target in (scratch, None)
        ]
    found, predicted = (
        {item.file: None for item in accepted} | {item.file: item.reason for item in rejected} for accepted, rejected in results
    )
    assert found == predicted
    return found


def test_dx_and_cr_are_taken_by_plan_where_the_body_part_is_the_breast(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator = "76752008", "SCT"
    files: dict[str, dict[str, Any]] = {
        "mg": {},
        "dx": {"Modality": "DX", **BREAST},
        "cr by its region": {"Modality": "CR", "AnatomicRegionSequence": [region]},
        "chest": {"Modality": "DX", "BodyPartExamined": "CHEST"},
        "no part": {"Modality": "CR"},
        "ct": {"Modality": "CT", **BREAST},
    }
    others = dict.fromkeys(("dx", "cr by its region", "chest", "no part", "ct"), Reason.OTHER_MODALITY)
    assert outcomes(tmp_path / "a", files, gradient) == {"mg": None, **others}
    every = outcomes(tmp_path / "b", files, gradient, modalities=tuple(Modality))
    part = dict.fromkeys(("chest", "no part"), Reason.OTHER_BODY_PART)
    assert every == {"mg": None, "dx": None, "cr by its region": None, **part, "ct": Reason.UNPLANNED_MODALITY}
    only_dx = outcomes(tmp_path / "c", files, gradient, modalities=(Modality.DX,))
    assert [name for name, reason in only_dx.items() if reason is None] == ["dx"]
    assert only_dx["mg"] is Reason.UNPLANNED_MODALITY


def test_a_dx_file_says_by_its_class_what_it_is_for(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    files = {name: {"Modality": "DX", "SOPClassUID": f"1.2.840.10008.5.1.4.1.1.1.1{name}", **BREAST} for name in ("", ".1")}
    taken = outcomes(tmp_path / "a", {f"x{name}": file for name, file in files.items()}, gradient, modalities=tuple(Modality))
    assert taken == {"x": None, "x.1": Reason.OTHER_PRESENTATION}


def test_sex(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    files = {"f": {"PatientSex": "F"}, "m": {"PatientSex": "M"}, "none": {}, "other text": {"PatientSex": "U"}}
    assert set(outcomes(tmp_path / "a", files, gradient).values()) == {None}
    unstated = {"none": Reason.NO_SEX, "other text": Reason.NO_SEX}
    assert outcomes(tmp_path / "b", files, gradient, sex=(Sex.FEMALE,)) == {"f": None, "m": Reason.OTHER_SEX, **unstated}


def test_age(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    files: dict[str, dict[str, Any]] = {
        "049Y": {"PatientAge": "049Y"},
        "050Y": {"PatientAge": "050Y"},
        "born": {"PatientBirthDate": "19500615", "StudyDate": "20250614"},
        "a day later": {"PatientBirthDate": "19500615", "StudyDate": "20250615"},
        "none": {"PatientBirthDate": "19500615"},
    }
    assert set(outcomes(tmp_path / "a", files, gradient).values()) == {None}
    others = {"049Y": Reason.OTHER_AGE, "a day later": Reason.OTHER_AGE, "none": Reason.NO_AGE}
    assert outcomes(tmp_path / "b", files, gradient, age=(50, 74)) == {"050Y": None, "born": None, **others}


@pytest.mark.parametrize(
    ("attributes", "age"),
    [
        ({"PatientAge": "050Y", "PatientBirthDate": "19000101", "StudyDate": "20250101"}, 50),
        ({"PatientAge": "600M"}, 50),
        ({"PatientAge": "100D"}, 0),
        ({"PatientAge": "fifty", "PatientBirthDate": "19750101", "StudyDate": "20250101"}, 50),
        ({"PatientBirthDate": "20000229", "StudyDate": "20250228"}, 24),
        ({"PatientBirthDate": "19000101", "StudyDate": "20250101"}, None),
        ({"PatientBirthDate": "20260101", "StudyDate": "20250101"}, None),
        ({"PatientBirthDate": "00000000", "StudyDate": "20250101"}, None),
        ({}, None),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_ages(attributes: dict[str, str], age: int | None) -> None:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    assert (age_of(dataset), sex_of(dataset)) == (age, "")


@pytest.mark.parametrize("wrong", [{"age": (50,)}, {"age": (74, 50)}, {"age": (0, 121)}, {"sex": ("X",)}, {"modalities": ()}])
def test_what_no_plan_may_say(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Images(**wrong)


def test_a_plan_without_these_settings_keeps_its_digest() -> None:
    assert not {"modalities", "sex", "age"} & wire.plain(Images()).keys()
    assert {"sex", "age"} <= wire.plain(Images(sex=(Sex.FEMALE,), age=(50, 74))).keys()

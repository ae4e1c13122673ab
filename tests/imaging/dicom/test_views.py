"""View and side: which attribute wins."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from fedcli.imaging.dicom.views import laterality_of, view_of

# Samples that break the standard are made with pydicom, which says so.
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")


def dataset_of(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def code(value: str) -> list[Dataset]:
    return [dataset_of(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning="view")]


@pytest.mark.parametrize(
    ("attributes", "view"),
    [
        ({"ViewPosition": "MLO", "ViewCodeSequence": code("399162004"), "PatientOrientation": "CC"}, "MLO"),
        ({"ViewPosition": "", "ViewCodeSequence": code("399162004"), "PatientOrientation": "MLO"}, "CC"),
        ({"ViewPosition": "??", "ViewCodeSequence": code("R-10226")}, "MLO"),
        ({"ViewCodeSequence": code("0"), "PatientOrientation": "mlo"}, "MLO"),
        ({"PatientOrientation": ["A", "FR"]}, ""),
        ({}, ""),
    ],
)
def test_view(attributes: dict[str, Any], view: str) -> None:
    assert view_of(dataset_of(**attributes)) == view


def test_laterality() -> None:
    frame = [dataset_of(FrameAnatomySequence=[dataset_of(FrameLaterality="L")])]
    assert laterality_of(dataset_of(ImageLaterality="R", Laterality="L")) == "R"
    assert laterality_of(dataset_of(ImageLaterality="B", Laterality="L")) == "L"
    assert laterality_of(dataset_of(Laterality="", PerFrameFunctionalGroupsSequence=frame)) == "L"
    assert laterality_of(dataset_of(SharedFunctionalGroupsSequence=frame)) == "L"
    assert laterality_of(dataset_of(Laterality="U")) == ""

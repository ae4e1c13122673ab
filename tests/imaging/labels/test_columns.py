"""Which columns of a label table hold what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedcli.errors import DataError
from fedcli.imaging.labels import columns
from fedcli.imaging.labels.columns import LabelColumns, LabelKey, LabelTable

if TYPE_CHECKING:
    from pathlib import Path

CBIS_MASS = (
    "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,mass margins,"
    "assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
)
CBIS_CALC = CBIS_MASS.replace("breast_density", "breast density").replace(
    "mass shape,mass margins", "calc type,calc distribution"
)
VINDR = "study_id,series_id,image_id,laterality,view_position,height,width,breast_birads,breast_density,split"
RSNA = "site_id,patient_id,image_id,laterality,view,age,cancer,biopsy,invasive,BIRADS,implant,density,machine_id"
EMBED_CLINICAL = "empi_anon,acc_anon,study_date_anon,desc,side,numfind,asses,tissueden,massshape,path_severity"


def read(tmp_path: Path, header: str, given: LabelColumns | None = None) -> LabelTable:
    (tmp_path / "labels.csv").write_text(f"{header}\n")
    return columns.read(tmp_path / "labels.csv", given or LabelColumns())


@pytest.mark.parametrize(
    ("header", "keys", "side", "view", "label"),
    [
        (CBIS_MASS, [(LabelKey.PATIENT, "patient_id")], "left or right breast", "image view", "breast_density"),
        (CBIS_CALC, [(LabelKey.PATIENT, "patient_id")], "left or right breast", "image view", "breast density"),
        (VINDR, [(LabelKey.FILE, "image_id"), (LabelKey.STUDY, "study_id")], "laterality", "view_position", "breast_density"),
        (RSNA, [(LabelKey.FILE, "image_id"), (LabelKey.PATIENT, "patient_id")], "laterality", "view", "density"),
        (EMBED_CLINICAL, [(LabelKey.ACCESSION, "acc_anon"), (LabelKey.PATIENT, "empi_anon")], "side", None, "tissueden"),
        ("SOP Instance UID,Density", [(LabelKey.INSTANCE, "SOP Instance UID")], None, None, "Density"),
        (
            "File-Name,Study Instance UID,Class",
            [(LabelKey.FILE, "File-Name"), (LabelKey.STUDY, "Study Instance UID")],
            None,
            None,
            "Class",
        ),
        ("AccessionNumber,BI-RADS density", [(LabelKey.ACCESSION, "AccessionNumber")], None, None, "BI-RADS density"),
    ],
)
def test_recognised(
    header: str, keys: list[tuple[LabelKey, str]], side: str | None, view: str | None, label: str, tmp_path: Path
) -> None:
    table = read(tmp_path, header)
    names = table.content.names
    assert [(key, names[index]) for key, index in table.keys] == keys
    assert names[table.label] == label
    assert [index if index is None else names[index] for index in (table.side, table.view)] == [side, view]


def test_the_assessment_is_no_density(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column holds the class"):
        read(tmp_path, VINDR.replace(",breast_density", ""))


def test_given_columns_win(tmp_path: Path) -> None:
    table = read(tmp_path, RSNA, LabelColumns(patient="IMAGE_ID", label="birads", side="implant"))
    names = table.content.names
    assert [(key, names[index]) for key, index in table.keys] == [(LabelKey.PATIENT, "image_id")]
    assert (names[table.label], table.side, table.view) == ("BIRADS", names.index("implant"), names.index("view"))
    assert (table.column(LabelKey.PATIENT), table.column(LabelKey.FILE)) == (names.index("image_id"), None)


def test_a_file_may_be_composed_of_columns(tmp_path: Path) -> None:
    table = read(tmp_path, RSNA, LabelColumns(file="{patient_id}_{image_id}"))
    ((key, index),) = table.keys
    assert (key, table.content.names[index]) == (LabelKey.FILE, "{patient_id}_{image_id}")
    assert "implant" not in table.content.names  # only needed columns are kept
    with pytest.raises(DataError, match=r"there is no column image, which \{patient_id\}_\{image\} is composed from"):
        read(tmp_path, RSNA, LabelColumns(file="{patient_id}_{image}"))


@pytest.mark.parametrize("what", ["instance", "file", "accession", "study", "patient", "side", "view", "label"])
def test_given_columns_that_are_not_there(what: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no column absent; found the columns site_id, patient_id") as caught:
        read(tmp_path, RSNA, LabelColumns(**{what: "absent"}))
    assert "labels.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "words"), [("name,density", "no column names a patient"), ("patient,score", "no column holds the class")]
)
def test_unknown_columns(header: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path, header)
    assert "labels.csv" in str(caught.value)
    assert header.replace(",", ", ") in str(caught.value)
    assert "recognised names are" in caught.value.hint

"""The join of a label table with the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given as every
from hypothesis import strategies as st

from fedcli.errors import DataError
from fedcli.imaging.labels import columns, matching
from fedcli.imaging.labels.columns import LabelColumns, LabelKey
from fedcli.imaging.labels.matching import FileDetails, MatchedLabels
from fedcli.imaging.labels.resolution import RowFault
from fedcli.imaging.mammogram import ImageMetadata
from fedcli.imaging.rejection import Reason

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.imaging.labels.columns import LabelTable

CLASSES = ("a", "b", "c", "d")
IMAGES = {
    f"folder{patient}/{image}-{patient}.dcm": ImageMetadata(
        patient=f"p{patient}", study=f"1.{patient}.{image}", accession=f"acc{patient}", instance=f"9.{patient}.{image}",
        rows=64, columns=64, bits=12,
    )
    for patient in (1, 2)
    for image in (1, 2)
}  # fmt: skip


def read(tmp_path: Path, text: str, given: LabelColumns | None = None) -> LabelTable:
    (tmp_path / "labels.csv").write_text(text)
    return columns.read(tmp_path / "labels.csv", given or LabelColumns())


def join(tmp_path: Path, text: str, given: LabelColumns | None = None) -> MatchedLabels:
    return matching.join(read(tmp_path, text, given), list(IMAGES), list(IMAGES.values()), CLASSES)


def details(tmp_path: Path, text: str, *files: str, given: LabelColumns | None = None) -> dict[str, FileDetails]:
    return dict(matching.details_of(read(tmp_path, text, given), files))


@pytest.mark.parametrize(
    ("text", "key", "outcomes"),
    [
        ("PatientID,Density\np1,1\np2,D\n", LabelKey.PATIENT, (0, 0, 3, 3)),
        ("study_id,breast_density\n1.1.1,a\n1.1.2,b\n1.2.1,c\n1.2.2,d\n", LabelKey.STUDY, (0, 1, 2, 3)),
        ("acc_anon,tissueden\nacc1,2.0\nacc2,3.0\n", LabelKey.ACCESSION, (1, 1, 2, 2)),
        ("SOPInstanceUID,density\n9.1.1,1\n9.1.2,2\n9.2.1,3\n9.2.2,4\n", LabelKey.INSTANCE, (0, 1, 2, 3)),
        ("file,density\nfolder1/1-1.dcm,1\n2-1.dcm,2\n1-2,3\n.\\folder2\\2-2.dcm,4\n", LabelKey.FILE, (0, 1, 2, 3)),
    ],
)
def test_keys(text: str, key: LabelKey, outcomes: tuple[int, ...], tmp_path: Path) -> None:
    joined = join(tmp_path, text)
    assert (joined.key, joined.outcomes, joined.problems) == (key, outcomes, ())


def test_of_keys_that_name_equally_many_images_the_most_specific_wins_and_the_other_is_said(tmp_path: Path) -> None:
    joined = join(tmp_path, "patient_id,study_id,image_id,density\np1,1.1.1,other-1,1\np1,1.1.2,other-2,2\n")
    assert (joined.key, joined.column) == (LabelKey.STUDY, "study_id")
    assert joined.outcomes == (0, 1, Reason.NO_LABEL, Reason.NO_LABEL)
    assert joined.remarks == ("labels are joined by the column study_id, which names 2 images; patient_id names 2",)


def test_the_key_that_names_most_images_wins(tmp_path: Path) -> None:
    joined = join(tmp_path, "patient_id,image_id,density\np1,1-1,1\np2,other,2\n")
    assert (joined.column, joined.outcomes) == ("patient_id", (0, 0, 1, 1))
    assert joined.remarks[0] == "labels are joined by the column patient_id, which names 4 images; image_id names 1"


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("P2", "in other case"),
        ("p2.0", "without .0"),
        ("p 2", "with other spaces"),
    ],
)
def test_what_would_match_is_said(name: str, remark: str, tmp_path: Path) -> None:
    joined = join(tmp_path, f"patient_id,density\np1,1\n{name},2\n")
    assert joined.outcomes[2:] == (Reason.NO_LABEL, Reason.NO_LABEL)
    assert joined.remarks == (f"column patient_id: 1 image key would match {remark}",)
    with pytest.raises(DataError) as caught:
        join(tmp_path, f"patient_id,density\n{name},2\n")
    assert caught.value.hint.startswith(f"column patient_id: 1 image key would match {remark}; ")


@pytest.mark.parametrize(
    ("image", "row", "remark"),
    [
        ("123000", "1.23E+05", "without an exponent"),
        ("00123", "123", "without leading zeros"),
        ("0045", "45.0", "without leading zeros"),
        ("M\u0075\u0308", "M\u00fc", "NFC"),
    ],
)
def test_what_a_spreadsheet_did_to_identifiers_is_said(image: str, row: str, remark: str, tmp_path: Path) -> None:
    images = {"1.dcm": ImageMetadata(patient=image, rows=64, columns=64, bits=12)}
    with pytest.raises(DataError) as caught:
        matching.join(read(tmp_path, f"patient_id,density\n{row},2\n"), list(images), list(images.values()), CLASSES)
    assert remark in caught.value.hint


@pytest.mark.parametrize("empty", ["", "NA", "nan", "N/A", "null", "-", "None"])
def test_an_empty_cell_is_empty_as_programs_write_it(empty: str, tmp_path: Path) -> None:
    joined = join(tmp_path, f"patient_id,density\np1,1\np1,{empty}\n{empty or ' '},3\n")
    assert joined.outcomes[:2] == (0, 0)
    assert [problem.fault for problem in joined.problems] == [RowFault.NO_CLASS, RowFault.NO_KEY]


def test_what_a_file_name_would_match_is_said(tmp_path: Path) -> None:
    images = {"a/Image.DCM": ImageMetadata(rows=64, columns=64, bits=12)}
    with pytest.raises(DataError) as caught:
        matching.join(read(tmp_path, "file,density\nIMAGE.dcm,2\n"), list(images), list(images.values()), CLASSES)
    assert "column file: 1 image key would match in other case" in caught.value.hint


def test_of_columns_that_may_hold_the_class_the_first_is_taken_and_the_others_are_said(tmp_path: Path) -> None:
    joined = join(tmp_path, "patient,breast_density,density\np1,4,1\np2,4,2\n")
    assert joined.outcomes == (0, 0, 1, 1)
    assert joined.remarks == ("classes are in the column density; --column label= takes another: breast_density",)


def test_given_columns_are_the_only_ones(tmp_path: Path) -> None:
    text = "patient_id,case,density,second reader\np1,x,1,2\np2,y,1,3\n"
    joined = join(tmp_path, text, LabelColumns(patient="PATIENT_ID", label="second reader"))
    assert joined.outcomes == (1, 1, 2, 2)
    with pytest.raises(DataError, match="tried the columns case"):
        join(tmp_path, text, LabelColumns(patient="case"))
    with pytest.raises(DataError, match="no column subject; found the columns patient_id, case"):
        join(tmp_path, text, LabelColumns(patient="subject"))


def test_nothing_is_guessed(tmp_path: Path) -> None:
    text = "study,density\n1.1.1,1\n1.1.1,2\n1.1.2,often\n1.1.2,1\n1.2.1,\n1.2.2,3\n1.2.2,c\n1.9.9,4\n,2\n1.2.2,\n"
    joined = join(tmp_path, text)
    assert joined.outcomes == (Reason.CONFLICTING_LABELS, Reason.UNKNOWN_CLASS, Reason.NO_LABEL, 2)
    assert [(problem.line, problem.key, problem.fault) for problem in joined.problems] == [
        (2, "1.1.1", RowFault.CONFLICT),
        (3, "1.1.1", RowFault.CONFLICT),
        (4, "1.1.2", RowFault.UNKNOWN_CLASS),
        (5, "1.1.2", RowFault.CONFLICT),
        (6, "1.2.1", RowFault.NO_CLASS),
        (9, "1.9.9", RowFault.NO_IMAGE),
        (10, "", RowFault.NO_KEY),
        (11, "1.2.2", RowFault.NO_CLASS),
    ]


def test_a_file_name_that_two_images_share_names_none(tmp_path: Path) -> None:
    files = ("a/x.dcm", "b/x.dcm", "b/x.png", "c/1.2.3", "c/1.2.4", "y.dcm", "d/y.dcm", "d/z.dcm")
    images = {file: ImageMetadata(rows=64, columns=64, bits=12) for file in files}
    table = read(tmp_path, "file,density\nx.dcm,1\nb/x.dcm,2\nb/x,3\nc/1.2,4\ny.dcm,1\nd/z,4\n")
    joined = matching.join(table, list(images), list(images.values()), CLASSES)
    assert joined.outcomes == (*[Reason.NO_LABEL], 1, *3 * [Reason.NO_LABEL], 0, Reason.NO_LABEL, 3)
    assert [problem.line for problem in joined.problems] == [2, 4, 5]


def test_the_class_of_a_row_is_the_plans_own_name(tmp_path: Path) -> None:
    table = read(tmp_path, "patient,label\np1,low\np2,HIGH\n")
    assert matching.join(table, list(IMAGES), list(IMAGES.values()), ("low", "high")).outcomes == (
        0,
        0,
        Reason.UNKNOWN_CLASS,
        Reason.UNKNOWN_CLASS,
    )


@every(rows=st.lists(st.tuples(st.sampled_from(["p1", "p2", "p3", ""]), st.sampled_from(["1", "b", "2.0", "x", ""])), min_size=1))
def test_every_row_and_every_image_is_accounted_for(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    text = "patient,density,note\n" + "".join(f"{patient},{label},-\n" for patient, label in rows)
    if not {"p1", "p2"} & {patient for patient, _ in rows}:
        with pytest.raises(DataError, match="no row names any of the 4 images"):
            join(folder, text)
        return
    joined = join(folder, text)
    assert len(joined.outcomes) == len(IMAGES)
    faulty = {problem.line for problem in joined.problems}
    for line, (patient, _) in enumerate(rows, start=2):
        outcomes = {outcome for image, outcome in zip(IMAGES.values(), joined.outcomes, strict=True) if image.patient == patient}
        # A row either gives its images their class, or is listed.
        assert (line in faulty) == (patient not in {"p1", "p2"} or rows[line - 2][1] == "" or not outcomes <= {0, 1})
    for image, outcome in zip(IMAGES.values(), joined.outcomes, strict=True):
        meant = {CLASSES.index({"1": "a", "2.0": "b"}.get(label, label)) if label != "x" else None
                 for patient, label in rows if patient == image.patient and label}  # fmt: skip
        expected = Reason.NO_LABEL if not meant else Reason.UNKNOWN_CLASS if None in meant else Reason.CONFLICTING_LABELS
        assert outcome == (meant.pop() if len(meant) == 1 and None not in meant else expected)


def test_a_table_of_files_states_whose_they_are(tmp_path: Path) -> None:
    text = "patient_id,image_id,laterality,view,density\n7,11,L,cc,A\n7,12,right,MLO,A\n8,13,B,AT,C\n"
    described = details(tmp_path, text, "7/11.png", "12.pgm", "deep/er/13", "14.png")
    assert described == {
        "7/11.png": FileDetails(patient="7", laterality="L", view="CC"),
        "12.pgm": FileDetails(patient="7", laterality="R", view="MLO"),
        "deep/er/13": FileDetails(patient="8"),
    }


def test_columns_may_be_given_for_what_a_table_states(tmp_path: Path) -> None:
    text = "study_id,image_id,left,breast_density\ns1,i1,L,DENSITY B\n"
    given = LabelColumns(file="image_id", patient="study_id", side="left")
    assert details(tmp_path, text, "i1.png", given=given) == {"i1.png": FileDetails(patient="s1", laterality="L")}


def test_rows_that_contradict_one_another_state_nothing_about_what_they_dispute(tmp_path: Path) -> None:
    text = "file,patient,accession,side,density\nx.png,p1,a,L,1\nx.png,p1,a,R,1\ny.png,p1,a,L,1\ny.png,p2,a,L,1\n"
    assert details(tmp_path, text, "x.png", "y.png") == {
        "x.png": FileDetails(patient="p1", accession="a"),
        "y.png": FileDetails(accession="a", laterality="L"),
    }


def test_a_table_without_files_states_nothing(tmp_path: Path) -> None:
    assert details(tmp_path, "patient,side,density\np1,L,1\n", "p1") == {}

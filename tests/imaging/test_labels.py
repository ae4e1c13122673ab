"""The label table and its join with the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedcli.errors import DataError
from fedcli.imaging import labels
from fedcli.imaging.labels import Fault, Key, LabelColumns, Labels, Subject
from fedcli.imaging.rejection import Reason

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("a", "b", "c", "d")
SUBJECTS = tuple(
    Subject(patient=f"p{patient}", study=f"1.{patient}.{image}", accession=f"acc{patient}", instance=f"9.{patient}.{image}",
            file=f"folder{patient}/{image}-{patient}.dcm")
    for patient in (1, 2)
    for image in (1, 2)
)  # fmt: skip


def join(tmp_path: Path, text: str, columns: LabelColumns | None = None) -> Labels:
    (tmp_path / "labels.csv").write_text(text)
    return labels.join(labels.read(tmp_path / "labels.csv", columns or LabelColumns()), SUBJECTS, CLASSES)


@pytest.mark.parametrize(
    ("text", "key", "outcomes"),
    [
        ("PatientID,Density\np1,1\np2,D\n", Key.PATIENT, (0, 0, 3, 3)),
        ("study_id,breast_density\n1.1.1,a\n1.1.2,b\n1.2.1,c\n1.2.2,d\n", Key.STUDY, (0, 1, 2, 3)),
        ("acc_anon,tissueden\nacc1,2.0\nacc2,3.0\n", Key.ACCESSION, (1, 1, 2, 2)),
        ("SOPInstanceUID,density\n9.1.1,1\n9.1.2,2\n9.2.1,3\n9.2.2,4\n", Key.INSTANCE, (0, 1, 2, 3)),
        ("file,density\nfolder1/1-1.dcm,1\n2-1.dcm,2\n1-2,3\n.\\folder2\\2-2.dcm,4\n", Key.FILE, (0, 1, 2, 3)),
    ],
)
def test_keys(text: str, key: Key, outcomes: tuple[int, ...], tmp_path: Path) -> None:
    joined = join(tmp_path, text)
    assert (joined.key, joined.outcomes, joined.problems) == (key, outcomes, ())


def test_the_most_specific_key_that_names_an_image_wins(tmp_path: Path) -> None:
    joined = join(tmp_path, "patient_id,study_id,image_id,density\np1,1.1.1,other-1,1\np1,1.1.2,other-2,2\n")
    assert (joined.key, joined.column) == (Key.STUDY, "study_id")
    assert joined.outcomes == (0, 1, Reason.NO_LABEL, Reason.NO_LABEL)


def test_given_columns_are_the_only_ones(tmp_path: Path) -> None:
    text = "patient_id,case,density,second reader\np1,x,1,2\np2,y,1,3\n"
    joined = join(tmp_path, text, LabelColumns(patient="PATIENT_ID", label="second reader"))
    assert joined.outcomes == (1, 1, 2, 2)
    with pytest.raises(DataError, match="tried the columns case"):
        join(tmp_path, text, LabelColumns(patient="case"))
    with pytest.raises(DataError, match="no column subject; found the columns patient_id, case"):
        join(tmp_path, text, LabelColumns(patient="subject"))


def test_nothing_is_guessed(tmp_path: Path) -> None:
    text = "study,density\n1.1.1,1\n1.1.1,2\n1.1.2,often\n1.1.2,1\n1.2.1,\n1.2.2,3\n1.2.2,c\n1.9.9,4\n"
    joined = join(tmp_path, text)
    assert joined.outcomes == (Reason.CONFLICTING_LABELS, Reason.UNKNOWN_CLASS, Reason.NO_LABEL, 2)
    assert [(problem.line, problem.key, problem.fault) for problem in joined.problems] == [
        (2, "1.1.1", Fault.CONFLICT),
        (3, "1.1.1", Fault.CONFLICT),
        (4, "1.1.2", Fault.UNKNOWN_CLASS),
        (5, "1.1.2", Fault.CONFLICT),
        (9, "1.9.9", Fault.NO_IMAGE),
    ]


def test_a_file_name_that_two_images_share_names_none(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,density\nx.dcm,1\nb/x.dcm,2\n")
    twins = [Subject(patient="", study="", accession="", instance="", file=f"{folder}/x.dcm") for folder in "ab"]
    joined = labels.join(labels.read(tmp_path / "labels.csv", LabelColumns()), twins, CLASSES)
    assert joined.outcomes == (Reason.NO_LABEL, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [("name,density\n1,2\n", "no column names a patient"), ("patient,score\n1,2\n", "no column holds the class")],
)
def test_unknown_columns(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words) as caught:
        join(tmp_path, text)
    assert "labels.csv" in str(caught.value)
    assert text.splitlines()[0].replace(",", ", ") in str(caught.value)
    assert "recognised are" in caught.value.hint

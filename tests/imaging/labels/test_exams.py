"""A label table with a row for each exam, and plans that take one exam of a patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedcli.imaging.labels import columns, matching
from fedcli.imaging.labels.columns import LabelColumns
from fedcli.imaging.labels.exam_dates import normal_dates
from fedcli.imaging.labels.resolution import RowFault
from fedcli.imaging.mammogram import ImageMetadata
from fedcli.imaging.rejection import Reason
from fedcli.plan import Differing, Exams

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.imaging.labels.matching import MatchedLabels

EXCLUDE, HIGHER, BY_IMAGE = Differing
ALL, FIRST, LAST = Exams
NO, EXAMS, SIDES, CONFLICT = Reason.NO_LABEL, Reason.DIFFERING_EXAMS, Reason.DIFFERING_SIDES, Reason.CONFLICTING_LABELS


def image(date: str, side: str = "L", study: str = "", patient: str = "p1") -> ImageMetadata:
    return ImageMetadata(patient=patient, study=study or date, date=date, laterality=side, rows=9, columns=9, bits=12)


OLD, NEW = image("20180105"), image("20200307")


def join(
    folder: Path,
    text: str,
    images: list[ImageMetadata],
    *,
    header: str = "patient,study date,density",
    differing: Differing = EXCLUDE,
    exams: Exams = ALL,
    refused: ImageMetadata | None = None,
) -> MatchedLabels:
    (folder / "labels.csv").write_text(f"{header}\n{text}")
    table = columns.read(folder / "labels.csv", LabelColumns())
    files = [f"{number}.dcm" for number in range(len(images))]
    left_out = {"refused.dcm": refused}
    return matching.join(table, files, images, ("a", "b", "c", "d"), differing=differing, exams=exams, refused=left_out)


@pytest.mark.parametrize(
    ("text", "differing", "outcomes"),
    [
        ("p1,2018-01-05,b\np1,2020-03-07,b\n", EXCLUDE, (1, 1)),
        ("p1,2018-01-05,b\np1,2020-03-07,c\n", EXCLUDE, (EXAMS, EXAMS)),
        ("p1,2018-01-05,b\np1,2020-03-07,c\n", HIGHER, (2, 2)),
        ("p1,2018-01-05,b\np1,2020-03-07,c\n", BY_IMAGE, (1, 2)),
        ("p1,2018-01-05,b\n", EXCLUDE, (1, NO)),
        ("p1,2018-01-05,b\np1,2019-01-01,c\n", EXCLUDE, (1, NO)),
        ("p1,2018-01-05,b\np1,2018-01-05,c\n", BY_IMAGE, (CONFLICT, NO)),
        ("p1,,b\np1,2020-03-07,b\n", BY_IMAGE, (1, 1)),
        ("p1,,b\np1,2020-03-07,c\n", BY_IMAGE, (1, CONFLICT)),
    ],
)
def test_a_row_holds_for_its_exam(text: str, differing: Differing, outcomes: tuple[object, ...], tmp_path: Path) -> None:
    assert join(tmp_path, text, [OLD, NEW], differing=differing).outcomes == outcomes


@pytest.mark.parametrize(
    ("differing", "outcomes"),
    [(EXCLUDE, (SIDES, SIDES, SIDES)), (HIGHER, (3, 3, 3)), (BY_IMAGE, (1, 2, 3))],
)
def test_sides_and_exams_at_once(differing: Differing, outcomes: tuple[object, ...], tmp_path: Path) -> None:
    text = "p1,20180105,L,b\np1,20180105,R,c\np1,20200307,L,d\n"
    images = [OLD, image("20180105", "R"), NEW]
    joined = join(tmp_path, text, images, header="patient,StudyDate,side,density", differing=differing)
    assert joined.outcomes == outcomes


def test_an_image_without_a_date_takes_what_all_exams_agree_on(tmp_path: Path) -> None:
    images = [OLD, NEW, image("", study="1")]
    assert join(tmp_path, "p1,20180105,b\np1,20200307,b\n", images).outcomes == (1, 1, 1)
    assert join(tmp_path, "p1,20180105,b\np1,20200307,c\n", images, differing=BY_IMAGE).outcomes == (1, 2, CONFLICT)


def test_dates_that_are_of_no_exam_are_ignored_and_said(tmp_path: Path) -> None:
    joined = join(tmp_path, "p1,1960-02-03,b\n", [OLD, NEW], header="patient,date,density")
    assert joined.outcomes == (1, 1)
    assert joined.remarks == ("column date: no date is that of an image of the row's patient, so rows hold for all exams",)


def test_a_row_of_another_exam_has_no_effect_and_an_image_that_is_left_out_is_said(tmp_path: Path) -> None:
    text = "p1,20180105,b\np1,20200307,c\np1,20190101,d\n"
    joined = join(tmp_path, text, [OLD], refused=NEW)
    assert joined.outcomes == (1,)
    assert [(problem.line, problem.fault) for problem in joined.problems] == [(3, RowFault.LEFT_OUT), (4, RowFault.NO_IMAGE)]


def test_rows_of_exams_that_differ_are_listed(tmp_path: Path) -> None:
    joined = join(tmp_path, "p1,20180105,b\np1,20200307,c\n", [OLD, NEW])
    assert [problem.fault for problem in joined.problems] == [RowFault.OTHER_EXAM, RowFault.OTHER_EXAM]


OTHER, NO_DATE = Reason.OTHER_EXAM, Reason.NO_DATE


@pytest.mark.parametrize(
    ("images", "exams", "outcomes"),
    [
        ([OLD, NEW], ALL, (1, 1)),
        ([OLD, NEW], FIRST, (1, OTHER)),
        ([OLD, NEW], LAST, (OTHER, 1)),
        ([image("", study="1"), image("", "R", study="1")], FIRST, (1, 1)),
        ([image("", study="1"), image("", study="2")], FIRST, (NO_DATE, NO_DATE)),
        ([image("", study="1"), NEW], LAST, (NO_DATE, 1)),
        ([image("", study="1"), image("20180105", study="1"), NEW], FIRST, (1, 1, OTHER)),
        ([image("20180105", study="1"), image("20180105", study="2"), NEW], FIRST, (1, 1, OTHER)),
        ([image("20170101", patient="p2"), OLD, NEW], FIRST, (NO, 1, OTHER)),
    ],
)
def test_one_exam_of_each_patient(
    images: list[ImageMetadata], exams: Exams, outcomes: tuple[object, ...], tmp_path: Path
) -> None:
    assert join(tmp_path, "p1,b\n", images, header="patient,density", exams=exams).outcomes == outcomes


def test_only_exams_with_a_label_count_and_only_that_of_the_exam_matters(tmp_path: Path) -> None:
    first = join(tmp_path, "p1,20180105,NA\np1,20200307,c\n", [OLD, NEW], exams=FIRST)
    assert first.outcomes == (NO, 2)
    last = join(tmp_path, "p1,20180105,b\np1,20200307,c\n", [OLD, NEW], exams=LAST)
    assert last.outcomes == (OTHER, 2)
    assert [(problem.line, problem.fault) for problem in last.problems] == [(2, RowFault.LEFT_OUT)]


@pytest.mark.parametrize(
    ("texts", "dates"),
    [
        (["2020-01-31", "2020-01-31 10:11:12", "2020/1/31", "20200131", "20200131.0", "2020-01-31T10:11"], ["20200131"] * 6),
        (["31.01.2020", "1.2.2020"], ["20200131", "20200201"]),
        (["31/01/2020", "01/02/2020"], ["20200131", "20200201"]),
        (["01/31/2020", "01/02/2020"], ["20200131", "20200102"]),
        (["01/02/2020", "03/04/2020"], ["01/02/2020", "03/04/2020"]),
        (["2020-13-01", "2020", "soon", "31.02.2020"], ["2020-13-01", "2020", "soon", "31.02.2020"]),
    ],
)
def test_dates_as_tables_write_them(texts: list[str], dates: list[str]) -> None:
    normal = normal_dates(texts)
    assert [normal[text] for text in texts] == dates

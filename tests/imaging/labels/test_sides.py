"""A label table with a row for each side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli.imaging.labels import columns, matching
from fedcli.imaging.labels.columns import LabelColumns
from fedcli.imaging.labels.resolution import RowFault
from fedcli.imaging.mammogram import ImageMetadata
from fedcli.imaging.rejection import Reason
from fedcli.plan import Differing

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.imaging.labels.matching import MatchedLabels

SAME, DIFFER = "p1,left,b\np1,R,b\n", "p1,left,b\np1,R,c\n"
ALL = tuple(Differing)
EXCLUDE, HIGHER, BY_IMAGE = ALL


def join(folder: Path, text: str, differing: Differing, sides: str, header: str = "patient,laterality,density") -> MatchedLabels:
    """Join a table with one image of patient p1 for each side; ' ' is an image that states none."""
    images = {
        f"{number}.dcm": ImageMetadata(
            patient="p1", study="s1", instance=f"1.{number}", laterality=side.strip(), rows=9, columns=9, bits=12
        )
        for number, side in enumerate(sides)
    }
    (folder / "labels.csv").write_text(f"{header}\n{text}")
    table = columns.read(folder / "labels.csv", LabelColumns())
    return matching.join(table, list(images), list(images.values()), ("a", "b", "c", "d"), differing=differing)


NO, DIFFERING, CONFLICT, UNKNOWN = Reason.NO_LABEL, Reason.DIFFERING_SIDES, Reason.CONFLICTING_LABELS, Reason.UNKNOWN_CLASS


@pytest.mark.parametrize(
    ("text", "policies", "outcomes"),
    [
        (SAME, ALL, (1, 1, 1)),
        (DIFFER, [EXCLUDE], (DIFFERING, DIFFERING, CONFLICT)),
        (DIFFER, [HIGHER], (2, 2, 2)),
        (DIFFER, [BY_IMAGE], (1, 2, CONFLICT)),
        ("p1,L,b\n", ALL, (1, NO, 1)),
        ("p1,,b\n", ALL, (1, 1, 1)),
        ("p1,both,b\np1,R,b\n", ALL, (1, 1, 1)),
        ("p1,,b\np1,R,c\n", [EXCLUDE, HIGHER], (CONFLICT, CONFLICT, CONFLICT)),
        ("p1,,b\np1,R,c\n", [BY_IMAGE], (1, CONFLICT, CONFLICT)),
        ("p1,L,b\np1,L,c\np1,R,d\n", [EXCLUDE, HIGHER], (CONFLICT, CONFLICT, CONFLICT)),
        ("p1,L,b\np1,L,c\np1,R,d\n", [BY_IMAGE], (CONFLICT, 3, CONFLICT)),
        ("p1,L,x\np1,R,d\n", [EXCLUDE, HIGHER], (UNKNOWN, DIFFERING, UNKNOWN)),
        ("p1,L,x\np1,R,d\n", [BY_IMAGE], (UNKNOWN, 3, UNKNOWN)),
        ("p1,L,NA\np1,R,d\n", ALL, (NO, 3, 3)),
    ],
)
def test_a_row_holds_for_its_side(text: str, policies: list[Differing], outcomes: tuple[object, ...], tmp_path: Path) -> None:
    """The images are of the left, of the right, and of an unknown side."""
    for differing in policies:
        assert join(tmp_path, text, differing, "LR ").outcomes == outcomes


@pytest.mark.parametrize(
    ("text", "differing", "faults"),
    [
        (DIFFER, EXCLUDE, [RowFault.OTHER_SIDE, RowFault.OTHER_SIDE]),
        (DIFFER, HIGHER, []),
        (DIFFER, BY_IMAGE, []),
        ("p1,L,b\np1,L,c\np1,R,d\n", BY_IMAGE, [RowFault.CONFLICT, RowFault.CONFLICT]),
        ("p1,L,b\np1,L,c\np1,R,d\n", HIGHER, [RowFault.CONFLICT] * 3),
        ("p1,L,x\np1,R,d\n", HIGHER, [RowFault.UNKNOWN_CLASS, RowFault.OTHER_SIDE]),
    ],
)
def test_rows_without_effect(text: str, differing: Differing, faults: list[RowFault], tmp_path: Path) -> None:
    assert [problem.fault for problem in join(tmp_path, text, differing, "LR").problems] == faults


def test_a_row_whose_side_has_no_image_has_no_effect(tmp_path: Path) -> None:
    assert [problem.fault for problem in join(tmp_path, SAME, EXCLUDE, "L").problems] == [RowFault.NO_IMAGE]


def test_a_row_whose_only_image_is_refused_says_so(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"patient,laterality,density\n{SAME}")
    table = columns.read(tmp_path / "labels.csv", LabelColumns())
    left = ImageMetadata(patient="p1", laterality="L", rows=9, columns=9, bits=12)
    joined = matching.join(table, ["l"], [left], ("a", "b"), refused={"r": replace(left, laterality="R")})
    assert [problem.fault for problem in joined.problems] == [RowFault.LEFT_OUT]


def test_sides_of_a_study(tmp_path: Path) -> None:
    assert join(tmp_path, "s1,L,b\ns1,R,c\n", BY_IMAGE, "LR", "study_id,side,density").outcomes == (1, 2)


def test_the_row_of_one_image_holds_whatever_side_it_states(tmp_path: Path) -> None:
    assert join(tmp_path, "1.0,R,b\n1.1,R,c\n", EXCLUDE, "LR", "SOPInstanceUID,side,density").outcomes == (1, 2)

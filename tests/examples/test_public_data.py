"""The public data sets' mappings: every command of the README, on phantoms in the original layout with the original columns."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import pytest

from fedcli.imaging.labels.resolution import RowFault
from fedcli.imaging.rejection import Reason
from tests.docs.walkthrough import Walk, shell_blocks

EXAMPLE = Path(__file__).parents[2] / "examples" / "public-data"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the README in a copy of the example, and return what it made."""
    root = tmp_path_factory.mktemp("public") / "data"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("work", "__pycache__"))
    walk = Walk(folder=root)
    lines = [line for block in shell_blocks(EXAMPLE / "README.md") for line in block.lines]
    assert sum(line.startswith("fedcli prepare") for line in lines) == 6
    for line in lines:
        step = walk.run(line)
        assert step.code == 0, f"{line}\n{step.printed}"
    return root / "work"


class Prepared:
    """One data set: its images with their identities, what was left out, and the rows without effect."""

    def __init__(self, folder: Path) -> None:
        self.images = [
            {**image, "identifier": identity["patient"], "path": identity["path"]}
            for image, identity in zip(rows_of(folder / "index.csv"), rows_of(folder / "identities.csv"), strict=True)
        ]
        self.rejects = Counter(row["reason"] for row in rows_of(folder / "rejects.csv"))
        self.faults = Counter(row["problem"] for row in rows_of(folder / "label-problems.csv"))
        assert (folder / "dataset.html").is_file()

    def classes(self) -> dict[str, str]:
        """Return each patient's classes, a letter an image."""
        classes: dict[str, list[str]] = {}
        for image in self.images:
            classes.setdefault(image["identifier"], []).append(image["class"])
        return {patient: "".join(sorted(letters)) for patient, letters in classes.items()}

    def sides_and_views(self) -> Counter[tuple[str, str]]:
        return Counter((image["laterality"], image["view"]) for image in self.images)


def test_cbis_ddsm(work: Path) -> None:
    dataset = Prepared(work / "cbis-ddsm" / "prepared")
    assert dataset.classes() == {"P_10001": "ccc", "P_10002": "b", "P_10003": "d", "P_10006": "aa"}
    assert {image["path"].split("/")[0] for image in dataset.images if image["identifier"] == "P_10001"} == {
        "Mass-Training_P_10001_LEFT_CC", "Mass-Training_P_10001_LEFT_MLO", "Calc-Training_P_10001_RIGHT_CC"
    }  # fmt: skip
    assert len({image["part"] for image in dataset.images if image["identifier"] == "P_10001"}) == 1
    assert dataset.rejects == {
        Reason.OTHER_PATIENT: 11,  # the cropped images
        Reason.CONFLICTING_LABELS: 2,  # P_10004, 2 in one table and 3 in another
        Reason.UNKNOWN_CLASS: 1,  # P_10005, 0
    }
    assert dataset.faults == {RowFault.CONFLICT: 2, RowFault.UNKNOWN_CLASS: 1}


@pytest.mark.parametrize("prepared", ["prepared", "prepared-png"])
def test_vindr_mammo(work: Path, prepared: str) -> None:
    dataset = Prepared(work / "vindr-mammo" / prepared)
    assert sorted(dataset.classes().values()) == ["aabb", "cccc", "dddd"]
    assert {image["identifier"] for image in dataset.images} == {image["path"].split("/")[0] for image in dataset.images}
    assert (dataset.rejects, dataset.faults) == ({}, {})
    if prepared == "prepared-png":  # DICOM headers tell side and view themselves: the phantoms', not the rows'
        assert dataset.sides_and_views() == dict.fromkeys([("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")], 3)
        table = {row["image_id"]: row for row in rows_of(EXAMPLE / "vindr-mammo" / "breast-level_annotations.csv")}
        for image in dataset.images:
            row = table[Path(image["path"]).stem]
            assert (image["laterality"], image["view"]) == (row["laterality"], row["view_position"])
            assert row["breast_density"] == f"DENSITY {image['class'].upper()}"


def test_embed(work: Path) -> None:
    dataset = Prepared(work / "embed" / "prepared")
    assert dataset.classes() == {"99999901": "bbcc", "99999902": "dd"}
    assert dataset.rejects == {Reason.UNKNOWN_CLASS: 1, Reason.NO_LABEL: 1}
    assert dataset.faults == {RowFault.UNKNOWN_CLASS: 1, RowFault.NO_CLASS: 1}


@pytest.mark.parametrize("prepared", ["prepared", "prepared-png"])
def test_rsna(work: Path, prepared: str) -> None:
    dataset = Prepared(work / "rsna" / prepared)
    assert dataset.classes() == {"990001": "bbbb", "990003": "dddd"}
    assert (dataset.rejects, dataset.faults) == ({Reason.NO_LABEL: 4}, {RowFault.NO_CLASS: 4})


def test_no_identifier_of_the_data_sets_is_in_the_tables() -> None:
    """CBIS-DDSM's patients end at P_02584, RSNA's numbers have five digits; ours are beyond them."""
    cbis = {row["patient_id"] for table in (EXAMPLE / "cbis-ddsm").glob("*.csv") for row in rows_of(table)}
    assert min(int(patient.removeprefix("P_")) for patient in cbis) > 10_000
    assert min(int(row["patient_id"]) for row in rows_of(EXAMPLE / "rsna" / "train.csv")) > 100_000

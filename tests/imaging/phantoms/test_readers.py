"""The difficulty of phantoms: readers disagree near the border of two classes, and breasts of one share differ."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest

from fedcli.imaging.phantoms import hospitals
from fedcli.imaging.phantoms.hospitals import PLAIN_HOSPITALS, Hospital, Radiologist
from fedcli.learning.evaluation import metrics
from fedcli.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

NORTH = PLAIN_HOSPITALS[0]


def readings(reader: Radiologist, shares: list[float], seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.array([reader.label(share, 4, generator) for share in shares], np.int64)


def labels(folder: Path, hospital: Hospital) -> list[str]:
    table = hospitals.write(folder, hospital, seed=1, progress=Silent())
    with table.open(encoding="utf-8", newline="") as file:
        return [row["density"] for row in csv.DictReader(file)]


def test_two_readers_agree_as_radiologists_do() -> None:
    generator = np.random.default_rng(5)
    classes = generator.choice(4, size=20_000, p=NORTH.class_mix)
    shares = [float(share) for share in (classes + generator.uniform(0, 1, classes.size)) / 4]
    kappa = metrics.kappa(readings(Radiologist(), shares, 1), readings(Radiologist(), shares, 2), 4)
    assert kappa == pytest.approx(0.77, abs=0.01)


def test_a_label_changes_only_near_a_border_and_then_to_the_neighbour() -> None:
    upon, far = (readings(Radiologist(), [share] * 2000, 3) for share in (0.5, 0.375))
    assert set(upon.tolist()) == {1, 2}
    assert (upon == 2).mean() == pytest.approx(0.5, abs=0.05)
    assert (far == 1).mean() > 0.95
    denser = readings(Radiologist(habit=0.05), [0.5] * 2000, 3)
    assert (denser == 2).mean() > 0.75


def test_without_a_reader_every_label_is_the_true_class(tmp_path: Path) -> None:
    few = replace(NORTH, num_patients=24)
    true, read = labels(tmp_path / "true", few), labels(tmp_path / "read", replace(few, reader=Radiologist(spread=0.2)))
    assert sorted(true) == sorted("a" * 3 + "b" * 10 + "c" * 9 + "d" * 2)
    assert true != read


def test_breasts_of_one_share_differ_where_a_hospital_has_a_variation(tmp_path: Path) -> None:
    few = replace(NORTH, num_patients=2)
    for variation in (0.0, 0.25):
        labels(tmp_path / str(variation), replace(few, variation=variation))
    plain, varied = (
        [pydicom.dcmread(path).pixel_array.astype(float).mean() for path in sorted((tmp_path / name).rglob("*.dcm"))]
        for name in ("0.0", "0.25")
    )
    assert len(plain) == len(varied) == 8
    assert all(before != after for before, after in zip(plain, varied, strict=True))

"""The seven clients of the published study as phantoms: Table 1 comes out of the files as it is in the study."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli.errors import ConfigurationError
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.phantoms import hospitals
from fedcli.imaging.phantoms.hospitals import PLAIN_HOSPITALS
from fedcli.imaging.phantoms.scanner import expose, expose_volume
from fedcli.imaging.phantoms.seven_hospitals import TRAINING_IMAGES, seven_hospitals
from fedcli.imaging.preparation import LabelFiles
from fedcli.operations.prepare import PrepareRequest, prepare
from fedcli.plan import Images, Part, Plan, Split
from fedcli.progress import Silent
from tests.reporting.published_study import PAPER_DATASETS

if TYPE_CHECKING:
    from pathlib import Path

EVEN = Split(train=0.34, validation=0.33, test=0.33)


def test_patients_are_in_the_studys_proportions() -> None:
    patients = np.array([hospital.num_patients for hospital in seven_hospitals(0.05)])
    assert patients / patients.sum() == pytest.approx(np.array(TRAINING_IMAGES) / sum(TRAINING_IMAGES), abs=0.002)
    assert min(hospital.num_patients for hospital in seven_hospitals(0.001)) == 20


@pytest.mark.parametrize("number", range(7))
def test_table_1_comes_out_of_the_files(tmp_path: Path, number: int) -> None:
    hospital = replace(seven_hospitals(0.001)[number], num_patients=8)
    labels = hospitals.write(tmp_path / "archive", hospital, seed=1, progress=Silent())
    plan = Plan(name="seven", images=Images(size=32), split=EVEN, allow_empty=(Part.VALIDATION, Part.TEST))
    archive, tables = ImageArchive(folder=labels.parent), LabelFiles(table=labels)
    found = prepare(PrepareRequest(archive=archive, labels=tables, workspace=tmp_path / "none", plan=plan, out=tmp_path / "out"),
                    Silent()).cohort  # fmt: skip
    _, detectors, image_types, bits, _ = PAPER_DATASETS[number]
    assert (found.detectors, found.image_types, found.bits) == (detectors, image_types, bits)
    assert sum(part.images for part in found.parts) == 32
    assert [item.reason for item in found.rejections] == ["not a DICOM file"]  # the label table


def test_the_middle_of_a_volume_is_in_focus() -> None:
    scanner = replace(PLAIN_HOSPITALS[0].scanner, noise=0.0, slices=5)
    edge = np.repeat(np.float32([0.2, 0.7]), scanner.columns // 2)[None, :].repeat(scanner.rows, axis=0)
    volume = expose_volume(scanner, edge, generator=np.random.default_rng(1))
    assert (volume[2] == expose(scanner, edge, generator=np.random.default_rng(1))).all()
    steepest = [int(np.abs(np.diff(image[0].astype(int))).max()) for image in volume]
    assert steepest[2] > steepest[1] > steepest[0]
    assert steepest[2] > steepest[3] > steepest[4]


def test_sharpening_raises_edges_and_flattens_large_areas() -> None:
    plain = replace(PLAIN_HOSPITALS[0].scanner, noise=0.0)
    edge = np.repeat(np.float32([0.3, 0.5]), plain.columns // 2)[None, :].repeat(plain.rows, axis=0)
    before, after = (expose(scanner, edge, generator=np.random.default_rng(1))[0].astype(int)
                     for scanner in (plain, replace(plain, sharpening=1.0)))  # fmt: skip
    middle = plain.columns // 2
    assert after[middle] - after[middle - 1] > before[middle] - before[middle - 1]
    assert after[middle] > after[-1]
    with pytest.raises(ConfigurationError, match="sharpening in"):
        replace(plain, sharpening=10.0)

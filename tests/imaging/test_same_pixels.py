"""The same pixels under several patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from pydicom import uid

from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.dataset.index import Pseudonyms
from fedcli.imaging.preparation import DatasetRequest, LabelFiles, prepare
from fedcli.progress import Silent
from tests.fixtures.dicom_files import write_encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.plan import Preparation

PSEUDONYMS = Pseudonyms(secret=bytes(range(32)))
SHARED = "same pixels as an image of another patient"
CONTRADICTION = "same pixels under patients with contradictory labels"
PERSON = "patient shares an image with one of another part"

Prepare: TypeAlias = "Callable[..., dict[str, str]]"


def picture(seed: int) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 4096, (40, 30)).astype(np.uint16)


@pytest.fixture
def left_out(tmp_path: Path, preparation: Preparation) -> Prepare:
    """Return what prepares images, named by patient and number, and returns the reasons for those left out."""

    def run(
        images: Mapping[str, int],
        labels: Mapping[str, str],
        parts: Mapping[str, str],
        trained: frozenset[str] = frozenset(),
        withdrawn: frozenset[str] = frozenset(),
    ) -> dict[str, str]:
        archive = tmp_path / "archive"
        archive.mkdir()
        for name, seed in ({"zz-1": 1000} | images).items():  # one more patient, so that some image is left
            patient = name.partition("-")[0]
            syntax = uid.JPEG2000Lossless if patient == "q" else uid.ExplicitVRLittleEndian
            write_encoded(archive / name, picture(seed), syntax, PatientID=patient, BitsStored=12)
        table, listed = tmp_path / "labels.csv", tmp_path / "split.csv"
        table.write_text("patient,density\nzz,a\n" + "".join(f"{patient},{label}\n" for patient, label in labels.items()))
        listed.write_text("patient,part\nzz,train\n" + "".join(f"{patient},{part}\n" for patient, part in parts.items()))
        request = DatasetRequest(
            archive=ImageArchive(folder=archive, workers=1),
            labels=LabelFiles(table=table, split=listed),
            preparation=preparation,
            out=tmp_path / "out",
            trained=frozenset(map(PSEUDONYMS.patient, trained)),
            withdrawn=frozenset(map(PSEUDONYMS.patient, withdrawn)),
        )
        return {item.file: item.reason.value for item in prepare(request, pseudonyms=PSEUDONYMS, progress=Silent()).rejected}

    return run


TRAIN = dict.fromkeys("pqr", "train")


def test_one_image_stays(left_out: Prepare) -> None:
    assert left_out({"p-1": 1, "q-1": 1, "q-2": 2, "r-1": 3}, {"p": "a", "q": "a", "r": "b"}, TRAIN) == {"q-1": SHARED}


def test_the_labelled_image_stays(left_out: Prepare) -> None:
    assert left_out({"p-1": 1, "q-1": 1}, {"q": "a"}, TRAIN) == {"p-1": "no label"}


def test_contradictory_labels_leave_all_of_them_out(left_out: Prepare) -> None:
    reasons = left_out({"p-1": 1, "q-1": 1, "r-1": 1, "p-2": 2}, {"p": "a", "q": "a", "r": "b"}, TRAIN)
    assert reasons == dict.fromkeys(("p-1", "q-1", "r-1"), CONTRADICTION)


def test_images_of_one_patient_are_not_compared(left_out: Prepare) -> None:
    assert left_out({"p-1": 1, "p-2": 1}, {"p": "a"}, TRAIN) == {}


@pytest.mark.parametrize("labels", [{"p": "a", "q": "a", "r": "a"}, {"q": "a", "r": "a"}])
def test_a_person_is_in_one_part(labels: dict[str, str], left_out: Prepare) -> None:
    """P and q share an image, q and r another one; the first with a label stays in its part."""
    images = {"p-1": 1, "q-1": 1, "q-2": 2, "r-2": 2, "r-3": 3}
    first = "p" if "p" in labels else "q"
    parts = dict.fromkeys("pqr", "test") | {first: "train"}
    expected = {name: PERSON for name in images if name[0] > first} | ({} if first == "p" else {"p-1": "no label"})
    assert left_out(images, labels, parts) == expected


def test_a_patient_that_has_trained_stays_in_its_part(left_out: Prepare) -> None:
    images = {"p-1": 1, "p-2": 2, "q-1": 1, "q-3": 3}
    reasons = left_out(images, {"p": "a", "q": "a"}, {"p": "test", "q": "train"}, trained=frozenset("q"))
    assert reasons == {"p-1": PERSON, "p-2": PERSON}


def test_the_other_stays_out_of_another_part_whatever_the_labels_are(left_out: Prepare) -> None:
    images = {"p-1": 1, "p-2": 2, "q-1": 1}
    reasons = left_out(images, {"p": "a", "q": "b"}, {"p": "test", "q": "train"}, trained=frozenset("q"))
    assert reasons == {"p-1": CONTRADICTION, "p-2": PERSON, "q-1": CONTRADICTION}


def test_what_many_patients_share_is_no_person(left_out: Prepare) -> None:
    names = [f"n{number}" for number in range(9)]
    parts = {name: "train" if number % 2 else "test" for number, name in enumerate(names)}
    images = {f"{name}-1": 1 for name in names} | {f"{name}-2": 10 + number for number, name in enumerate(names)}
    reasons = left_out(images, dict.fromkeys(names, "a"), parts)
    assert reasons == {f"{name}-1": SHARED for name in names[1:]}


def test_an_image_of_a_patient_who_has_withdrawn_is_left_out_everywhere(left_out: Prepare) -> None:
    reasons = left_out({"p-1": 1, "q-1": 1, "q-2": 2}, {"p": "a", "q": "a"}, TRAIN, withdrawn=frozenset("p"))
    assert reasons == dict.fromkeys(("p-1", "q-1"), "patient has withdrawn")

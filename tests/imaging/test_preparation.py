"""From an archive to a prepared data set."""

from __future__ import annotations

import csv
import os
import re
import stat
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pydicom
import pytest

from fedcli import wire
from fedcli.errors import DataError, UsageError
from fedcli.imaging.archive.image_archive import ImageArchive, PatientRule
from fedcli.imaging.dataset import prepared_dataset
from fedcli.imaging.dataset.index import Pseudonyms
from fedcli.imaging.labels.resolution import RowFault
from fedcli.imaging.preparation import DatasetRequest, LabelFiles, PreparationSummary, prepare
from fedcli.imaging.rejection import Reason
from fedcli.plan import Part, Plan, Preparation
from fedcli.progress import Silent
from fedcli.text.csv_text import guarded
from tests.fixtures.dicom_files import write_mammogram
from tests.fixtures.interruption import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PSEUDONYMS = Pseudonyms(secret=bytes(range(32)))
PUBLIC = (prepared_dataset.IMAGES, prepared_dataset.INDEX, prepared_dataset.DESCRIPTION, prepared_dataset.SPLIT)
PRIVATE = (prepared_dataset.IDENTITIES, prepared_dataset.REJECTS, prepared_dataset.LABEL_PROBLEMS)
ANY = tuple(Part)


class Recorder(Silent):
    """A progress that remembers its last note."""

    def __init__(self) -> None:
        self.done = 0
        self.note = ""

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Callable[[int, str], None]]:
        """Yield a function that counts."""

        def advance(units: int, note: str) -> None:
            self.done += units
            self.note = note

        yield advance
        assert (label, total, unit) == ("prepare", self.done, "files")


Mixed: TypeAlias = "tuple[DatasetRequest, PreparationSummary, Recorder]"


@pytest.fixture(scope="module")
def real(cbis: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetRequest, PreparationSummary]:
    """Return the 8 mammograms, prepared by two processes as the plan's defaults say."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "labels.csv").write_text("patient_id,breast_density\nP_00173,2\nP_00820,3\n")
    request = DatasetRequest(
        archive=ImageArchive(folder=cbis, patient_rule=PatientRule(pattern=r"(P_\d+)"), workers=2),
        labels=LabelFiles(table=folder / "labels.csv"),
        preparation=Plan(name="test").preparation,
        out=folder / "two",
    )
    return request, prepared(request)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, preparation: Preparation) -> Mixed:
    """Return an archive of good and bad files, prepared."""
    folder = tmp_path_factory.mktemp("mixed")
    source = folder / "archive"
    (source / "b").mkdir(parents=True)
    pixels = np.random.default_rng(1).integers(0, 4096, (64, 48)).astype(np.uint16)
    for patient in range(12):
        own = np.random.default_rng(100 + patient).integers(0, 4096, (64, 48)).astype(np.uint16)
        write_mammogram(source / f"good-{patient:02}", own, PatientID=f"good-{patient}", Laterality="L", BitsStored=13)
    good = (source / "good-00").read_bytes()
    (source / "b" / "copy").write_bytes(good)
    (source / "b" / "short").write_bytes(good[: len(good) // 2])
    (source / "b" / "empty").touch()
    (source / "b" / "notes.txt").write_text("not DICOM")
    (source / "b" / "link").symlink_to("nowhere")
    (source / "b" / "loop").symlink_to("..")
    (source / "b" / "caf\udce9").write_text("a name that is not UTF-8")
    os.mkfifo(source / "b" / "pipe")
    write_mammogram(source / "b" / "bomb", pixels, Rows=65535, Columns=65535)
    write_mammogram(source / "b" / "nobody", pixels, PatientID="")
    write_mammogram(source / "b" / "unlabelled", pixels)
    write_mammogram(source / "b" / "disputed", pixels)
    write_mammogram(source / "b" / "tomogram", pixels, Modality="CT")
    rows = "".join(f"good-{patient},{'abcd'[patient % 4]}\n" for patient in range(12))
    (folder / "labels.csv").write_text(f"patient,density\n{rows}disputed,1\ndisputed,2\nabsent,3\n")
    request = DatasetRequest(
        archive=ImageArchive(folder=source, workers=2),
        labels=LabelFiles(table=folder / "labels.csv"),
        preparation=preparation,
        out=folder / "out",
    )
    recorder = Recorder()
    return request, prepare(request, pseudonyms=PSEUDONYMS, progress=recorder), recorder


def prepared(request: DatasetRequest) -> PreparationSummary:
    return prepare(request, pseudonyms=PSEUDONYMS, progress=Silent())


def of_folder(request: DatasetRequest, folder: Path, out: Path) -> DatasetRequest:
    """Return the same request for another folder."""
    return replace(request, archive=replace(request.archive, folder=folder), out=out)


def read_table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file))


def test_real_mammograms(real: tuple[DatasetRequest, PreparationSummary]) -> None:
    request, summary = real
    assert (summary.files, summary.images, summary.patients, summary.rejected) == (8, 8, 2, ())
    index = read_table(request.out / prepared_dataset.INDEX)[1:]
    assert [(row[3], row[4], row[5]) for row in index] == [
        (side, view, label) for label in "bc" for side in "LR" for view in ("CC", "MLO")
    ]
    assert len({row[1] for row in index}) == 2
    assert len({row[2] for row in index}) == 8
    cohort = summary.cohort
    assert (cohort.bits, cohort.image_types, cohort.megapixels) == ((16,), ("2D",), (12.06, 13.25))
    assert sum(cohort.histogram) == pytest.approx(100_000, abs=64)
    assert [sum(counts) for counts in zip(*(part.class_images for part in cohort.parts), strict=True)] == [0, 4, 4, 0]


def test_same_bytes_for_any_number_of_workers(real: tuple[DatasetRequest, PreparationSummary], tmp_path: Path) -> None:
    request, summary = real
    single = replace(request, archive=replace(request.archive, workers=1), out=tmp_path / "one")
    assert prepared(single).digest == summary.digest
    for name in prepared_dataset.FILES:
        assert (request.out / name).read_bytes() == (single.out / name).read_bytes(), name


def test_no_identifier_is_published(real: tuple[DatasetRequest, PreparationSummary], mixed: Mixed) -> None:
    for request in (real[0], mixed[0]):
        secrets = {"P_00173", "P_00820", "cases", "archive"}
        for path in filter(os.path.isfile, request.archive.folder.rglob("*")):
            secrets |= {path.name, path.parent.name, str(path)}
            if path.read_bytes()[128:132] == b"DICM":
                header = pydicom.dcmread(path, stop_before_pixels=True)
                keywords = ("PatientID", "PatientName", "StudyInstanceUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyID")
                secrets |= {str(header.get(keyword, "")) for keyword in keywords}
        secrets -= {"", "b"}
        assert len(secrets) > 20
        for name in PUBLIC:
            content = (request.out / name).read_bytes()
            assert [secret for secret in secrets if os.fsencode(secret) in content] == [], name
    assert b"P_00173" in (real[0].out / prepared_dataset.IDENTITIES).read_bytes()


def test_the_secret_decides_the_hashes_and_not_the_parts(mixed: Mixed, tmp_path: Path) -> None:
    request, summary, _ = mixed
    other = replace(request, out=tmp_path / "out")
    assert prepare(other, pseudonyms=Pseudonyms(secret=bytes(32)), progress=Silent()).cohort == summary.cohort
    first, second = (read_table(each.out / prepared_dataset.INDEX)[1:] for each in (request, other))
    assert [row[3:] for row in first] == [row[3:] for row in second]
    assert not {row[1] for row in first} & {row[1] for row in second}


def test_modes(mixed: Mixed) -> None:
    out = mixed[0].out
    assert sorted(path.name for path in out.iterdir()) == sorted(prepared_dataset.FILES)
    assert {name: stat.S_IMODE((out / name).stat().st_mode) for name in PRIVATE} == dict.fromkeys(PRIVATE, 0o600)


def test_every_file_is_there_or_left_out_with_its_reason(mixed: Mixed) -> None:
    request, summary, recorder = mixed
    expected = {
        "b/bomb": Reason.TOO_LARGE,
        "b/caf\udce9": Reason.NOT_DICOM,
        "b/copy": None,
        "b/disputed": Reason.CONFLICTING_LABELS,
        "b/empty": Reason.NOT_DICOM,
        "b/link": Reason.UNREADABLE,
        "b/loop": Reason.LINK,
        "b/nobody": Reason.NO_PATIENT,
        "b/notes.txt": Reason.NOT_DICOM,
        "b/pipe": Reason.UNREADABLE,
        "b/short": Reason.TRUNCATED,
        "b/tomogram": Reason.OTHER_MODALITY,
        "b/unlabelled": Reason.NO_LABEL,
        # The copy is before it in the order of the paths.
        "good-00": Reason.COPY,
    }
    assert {item.file: item.reason for item in summary.rejected} == {file: why for file, why in expected.items() if why}
    assert [item.file for item in summary.rejected] == sorted(file for file, why in expected.items() if why)
    assert (summary.images, summary.files) == (12, 24)
    listed = [[guarded(item.file), item.reason] for item in summary.rejected]
    assert read_table(request.out / prepared_dataset.REJECTS)[1:] == listed
    assert {rejection.reason: rejection.files for rejection in summary.cohort.rejections}["not a DICOM file"] == 3
    assert recorder.done == 24
    assert re.fullmatch(r"\S+ MB/s, 10 left out", recorder.note)
    problems = [(problem.line, problem.key) for problem in summary.label_problems]
    assert problems == [(14, "disputed"), (15, "disputed"), (16, "absent")]


@pytest.mark.parametrize(("column", "more"), [("patient", ()), ("file", ("text",))])
def test_a_row_tells_an_image_that_is_refused_from_one_that_does_not_exist(
    column: str, more: tuple[str, ...], tmp_path: Path, preparation: Preparation
) -> None:
    """Twice, because the second run takes the results from the cache."""
    folder = tmp_path / "archive"
    folder.mkdir()
    pixels = np.random.default_rng(1).integers(0, 4096, (64, 48)).astype(np.uint16)
    write_mammogram(folder / "good", pixels, BitsStored=12)
    write_mammogram(folder / "ct", pixels, BitsStored=12, Modality="CT")
    write_mammogram(folder / "blank", np.zeros_like(pixels), BitsStored=12)
    write_mammogram(folder / "spare", pixels + np.uint16(4096), BitsStored=12)
    write_mammogram(folder / "partial", pixels, BitsStored=12, PartialView="YES")
    (folder / "text").write_text("not DICOM")
    refused = ("ct", "blank", "spare", "partial", *more)
    rows = "".join(f"{name},a\n" for name in ("good", "absent", *refused))
    (tmp_path / "labels.csv").write_text(f"{column},density\n{rows}")
    request = DatasetRequest(
        archive=ImageArchive(folder=folder, workers=1),
        labels=LabelFiles(table=tmp_path / "labels.csv"),
        preparation=preparation,
        out=tmp_path / "out",
    )
    for _ in range(2):
        faults = {problem.key: problem.fault for problem in prepared(request).label_problems}
        assert faults == dict.fromkeys(refused, RowFault.LEFT_OUT) | {"absent": RowFault.NO_IMAGE}


def test_loads(mixed: Mixed) -> None:
    request, summary, _ = mixed
    loaded = prepared_dataset.load(request.out, wire.digest(request.preparation), ANY)
    assert loaded.digest == summary.digest
    assert loaded.images.shape == (12, 32, 32)
    assert sorted(loaded.labels.tolist()) == sorted(patient % 4 for patient in range(12))
    order = [tuple(Part).index(part) for part in loaded.parts]
    assert order == sorted(order)
    for part in Part:  # within a part rows are in the order of their paths; the copy of good-00 is in b/
        paths = [
            row[5]
            for row, of_row in zip(read_table(request.out / prepared_dataset.IDENTITIES)[1:], loaded.parts, strict=True)
            if of_row is part
        ]
        assert paths == sorted(paths)
    listed = dict(read_table(request.out / prepared_dataset.SPLIT)[1:])
    assert {patient: part.value for patient, part in zip(loaded.patients, loaded.parts, strict=True)} == listed
    assert (loaded.images.max(), loaded.images.flags.writeable) == (loaded.images[:].max(), False)


def test_new_patients_move_nobody(mixed: Mixed, tmp_path: Path) -> None:
    request = mixed[0]
    folder = tmp_path / "archive"
    folder.mkdir()
    for path in request.archive.folder.glob("good-0[4-9]"):
        (folder / path.name).write_bytes(path.read_bytes())
    write_mammogram(folder / "early", np.arange(64 * 64, dtype=np.uint16).reshape(64, 64), PatientID="good-2")
    grown = of_folder(request, folder, tmp_path / "out")
    assert prepared(grown).patients == 7
    before, after = (dict(read_table(each.out / prepared_dataset.SPLIT)[1:]) for each in (request, grown))
    assert after.items() <= before.items()


def test_split_list(mixed: Mixed, tmp_path: Path) -> None:
    request, *_ = mixed
    (tmp_path / "split.csv").write_text("patient,part\ngood-1,train\ngood-2,validation\ngood-3,test\n")
    labels = replace(request.labels, split=tmp_path / "split.csv")
    summary = prepared(replace(request, labels=labels, out=tmp_path / "out"))
    assert [part.images for part in summary.cohort.parts] == [1, 1, 1]
    assert [part.class_images for part in summary.cohort.parts] == [(0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    assert sum(item.reason is Reason.NOT_IN_SPLIT for item in summary.rejected) == 9


def test_interruption_leaves_nothing_and_a_rerun_replaces(mixed: Mixed, tmp_path: Path) -> None:
    request = replace(mixed[0], archive=replace(mixed[0].archive, workers=1), out=tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        prepare(request, pseudonyms=PSEUDONYMS, progress=Interrupted())
    assert list(tmp_path.iterdir()) == [request.cache]
    prepared(request)
    images = (request.out / prepared_dataset.IMAGES).stat().st_ino
    assert prepared(request).digest == mixed[1].digest
    assert (request.out / prepared_dataset.IMAGES).stat().st_ino != images
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.cache", "out"]


def test_patient_pattern(mixed: Mixed, tmp_path: Path) -> None:
    rule = PatientRule(pattern=r"^(?P<patient>good-\d)(\d?)$")
    summary = prepared(replace(mixed[0], archive=replace(mixed[0].archive, patient_rule=rule), out=tmp_path / "out"))
    # good-10 and good-11 become good-1, whose label is b.
    assert (summary.patients, summary.images) == (10, 12)
    assert {item.file for item in summary.rejected if item.reason is Reason.OTHER_PATIENT} == {"b/disputed", "b/unlabelled"}


def test_nothing_left(mixed: Mixed, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "readme").write_text("hello")
    with pytest.raises(DataError, match="no image is left to prepare; 1 × not a DICOM file"):
        prepared(of_folder(mixed[0], tmp_path / "archive", tmp_path / "out"))
    with pytest.raises(DataError, match="found nothing"):
        prepared(of_folder(mixed[0], tmp_path / "missing", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Pseudonyms(secret=b"short"), "32 bytes, found 5"),
        (lambda: ImageArchive(folder=Path(), workers=-1), "0 or more workers, found -1"),
        (lambda: PatientRule(pattern="P_[0-9]+"), "needs one group"),
        (lambda: PatientRule(pattern="(P"), "not a regular expression"),
    ],
)
def test_what_cannot_work_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


def test_output_within_the_archive_is_refused(mixed: Mixed) -> None:
    request = mixed[0]
    archive = request.archive.folder
    for out in (archive, archive / "out", archive.parent):
        with pytest.raises(UsageError, match=re.escape(str(out))):
            replace(request, out=out)


def test_import_is_light() -> None:
    """Preparing must start in a fraction of a second, without torch."""
    code = "import sys, fedcli.imaging.preparation, fedcli.imaging.dataset.prepared_dataset; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    foreign = {"torch", "typer", "rich", "fedcli.exchange", "fedcli.learning", "fedcli.aggregation", "matplotlib"}
    assert not foreign & set(loaded)

"""Unchanged files are not read again, changed ones are, and the bytes are those of a run from scratch."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli.errors import DataError
from fedcli.imaging.archive.cache import Cache
from fedcli.imaging.archive.file_result import FileResult, FileStamp
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.dataset import prepared_dataset
from fedcli.imaging.dataset.index import Pseudonyms
from fedcli.imaging.mammogram import ImageMetadata
from fedcli.imaging.preparation import DatasetRequest, LabelFiles, PreparationSummary
from fedcli.imaging.preparation import prepare as prepare_as
from fedcli.imaging.rejection import Reason
from fedcli.plan import Images, Intensity
from fedcli.progress import Silent
from tests.fixtures.dicom_files import write_mammogram
from tests.fixtures.interruption import Interrupted

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.plan import Preparation
    from fedcli.progress import Progress

STAMP = FileStamp(size=7, changed=9)
METADATA = ImageMetadata(
    patient="p\udce9", study="1.2", laterality="L", view="CC", rows=64, columns=48, bits=12, detector="DIRECT",
    syntax="1.2.840.10008.1.2.5", frames=3,
)  # fmt: skip


@pytest.fixture
def request_of_eight(tmp_path: Path, preparation: Preparation) -> DatasetRequest:
    archive = tmp_path / "archive"
    archive.mkdir()
    for number in range(8):
        write(archive / f"p{number}")
    (archive / "notes").write_text("not DICOM")
    rows = "".join(f"p{number},{'abcd'[number % 4]}\n" for number in range(12))
    (tmp_path / "labels.csv").write_text(f"patient,density\n{rows}")
    return DatasetRequest(
        archive=ImageArchive(folder=archive, workers=1),
        labels=LabelFiles(table=tmp_path / "labels.csv"),
        preparation=preparation,
        out=tmp_path / "out",
    )


def prepare(request: DatasetRequest, progress: Progress | None = None) -> PreparationSummary:
    return prepare_as(request, pseudonyms=Pseudonyms(secret=bytes(32)), progress=progress or Silent())


def write(path: Path) -> None:
    pixels = np.random.default_rng(int(path.name[1:])).integers(0, 4096, (64, 48)).astype(np.uint16)
    write_mammogram(path, pixels, BitsStored=12)


def spoil(path: Path) -> None:
    """Overwrite a file, which only reading it again can reveal: size and modification time stay the same."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def content(request: DatasetRequest) -> dict[str, bytes]:
    return {name: (request.out / name).read_bytes() for name in prepared_dataset.FILES}


def test_of_a_grown_archive_only_new_files_are_read(request_of_eight: DatasetRequest) -> None:
    request = request_of_eight
    prepare(request)
    for number in (8, 9):
        write(request.archive.folder / f"p{number}")
    prepare(replace(request, out=request.out.with_name("scratch")))
    for number in range(8):
        spoil(request.archive.folder / f"p{number}")
    prepare(request)
    assert content(request) == content(replace(request, out=request.out.with_name("scratch")))


def test_an_interrupted_run_goes_on_where_it_was(request_of_eight: DatasetRequest) -> None:
    request = request_of_eight
    prepare(replace(request, out=request.out.with_name("scratch")))
    with pytest.raises(KeyboardInterrupt):
        prepare(request, progress=Interrupted())  # after the third file: notes, p0, p1
    for name in ("p0", "p1"):
        spoil(request.archive.folder / name)
    prepare(request)
    assert content(request) == content(replace(request, out=request.out.with_name("scratch")))


def test_what_changed_is_read_again(request_of_eight: DatasetRequest) -> None:
    request = request_of_eight
    prepare(request)
    spoil(request.archive.folder / "p3")
    os.utime(request.archive.folder / "p3")
    assert [(rejected.file, rejected.reason) for rejected in prepare(request).rejected] == [
        ("notes", Reason.NOT_DICOM),
        ("p3", Reason.NOT_DICOM),
    ]


def test_other_settings_read_everything_again(request_of_eight: DatasetRequest) -> None:
    request = request_of_eight
    prepare(request)
    spoil(request.archive.folder / "p3")
    images = Images(size=32, intensity=Intensity.EQUALIZED)
    other = replace(request, preparation=replace(request.preparation, images=images))
    assert ("p3", Reason.NOT_DICOM) in [(rejected.file, rejected.reason) for rejected in prepare(other).rejected]


def test_files_that_are_gone_are_forgotten(request_of_eight: DatasetRequest) -> None:
    request = request_of_eight
    prepare(request)
    stamp = FileStamp(
        size=(request.archive.folder / "p3").stat().st_size, changed=(request.archive.folder / "p3").stat().st_mtime_ns
    )
    (request.archive.folder / "p3").unlink()
    assert prepare(request).images == 7
    cache = Cache(request.cache, request.preparation.images)
    assert not cache.has("p3", stamp)
    cache.close()


def test_round_trip_and_mode(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", Images())
    kept = FileResult(stamp=STAMP, metadata=METADATA, image=bytes(range(8)))
    cache.put("caf\udce9", kept)
    cache.put("bad", FileResult(stamp=STAMP, reason=Reason.TRUNCATED))
    for reason in (Reason.CRASHED, Reason.TOO_SLOW, Reason.UNREADABLE):
        cache.put("other", FileResult(stamp=STAMP, reason=reason))
    cache.put("changing", FileResult(metadata=METADATA, image=b"12"))
    cache.close()
    cache = Cache(tmp_path / "cache", Images())
    assert cache.get("caf\udce9", STAMP) == kept
    assert cache.get("bad", STAMP) == FileResult(stamp=STAMP, reason=Reason.TRUNCATED)
    assert not any(cache.has(name, STAMP) for name in ("other", "changing"))
    assert not cache.has("bad", FileStamp(size=7, changed=8))
    cache.close()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o600


def test_a_damaged_cache_starts_empty(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64)
    cache = Cache(tmp_path / "cache", Images())
    cache.put("a", FileResult(stamp=STAMP, reason=Reason.TRUNCATED))
    cache.close()
    cache = Cache(tmp_path / "cache", Images())
    assert cache.has("a", STAMP)
    cache.close()


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with pytest.raises(DataError, match="cannot be used"):
        Cache(tmp_path / "cache", Images())

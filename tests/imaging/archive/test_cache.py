"""What was read is not read again, what changed is, and the bytes are those of a run from scratch."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli.errors import DataError
from fedcli.imaging.archive.cache import Cache
from fedcli.imaging.archive.outcome import Outcome, Stamp
from fedcli.imaging.dataset import dataset
from fedcli.imaging.dicom.mammogram import Facts
from fedcli.imaging.preparation import Request, prepare
from fedcli.imaging.rejection import Reason
from fedcli.plan import Images, Intensity
from fedcli.progress import Silent
from tests.imaging.test_preparation import Interrupted

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.plan import Preparation
    from tests.imaging.conftest import WriteMammogram

STAMP = Stamp(size=7, changed=9)
FACTS = Facts(
    patient="p\udce9", study="1.2", accession="", instance="", laterality="L", view="CC",
    rows=64, columns=48, bits=12, detector="DIRECT", image_type="2D", syntax="1.2.840.10008.1.2.5", frames=3,
)  # fmt: skip


@pytest.fixture
def request_of_eight(tmp_path: Path, write_mammogram: WriteMammogram, preparation: Preparation) -> Request:
    archive = tmp_path / "archive"
    archive.mkdir()
    for number in range(8):
        write(archive / f"p{number}", write_mammogram)
    (archive / "notes").write_text("not DICOM")
    rows = "".join(f"p{number},{'abcd'[number % 4]}\n" for number in range(12))
    (tmp_path / "labels.csv").write_text(f"patient,density\n{rows}")
    labels = tmp_path / "labels.csv"
    return Request(archive=archive, labels=labels, preparation=preparation, out=tmp_path / "out", secret=bytes(32), workers=1)


def write(path: Path, write_mammogram: WriteMammogram) -> None:
    pixels = np.random.default_rng(int(path.name[1:])).integers(0, 4096, (64, 48)).astype(np.uint16)
    write_mammogram(path, pixels, BitsStored=12)


def spoil(path: Path) -> None:
    """Overwrite a file so that whoever reads it again must notice, and nobody who looks at its size and time."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def content(request: Request) -> dict[str, bytes]:
    return {name: (request.out / name).read_bytes() for name in dataset.FILES}


def test_a_grown_archive_costs_its_new_files_alone(request_of_eight: Request, write_mammogram: WriteMammogram) -> None:
    request = request_of_eight
    prepare(request, progress=Silent())
    for number in (8, 9):
        write(request.archive / f"p{number}", write_mammogram)
    prepare(replace(request, out=request.out.with_name("scratch")), progress=Silent())
    for number in range(8):
        spoil(request.archive / f"p{number}")
    prepare(request, progress=Silent())
    assert content(request) == content(replace(request, out=request.out.with_name("scratch")))


def test_an_interrupted_run_goes_on_where_it_was(request_of_eight: Request) -> None:
    request = request_of_eight
    prepare(replace(request, out=request.out.with_name("scratch")), progress=Silent())
    with pytest.raises(KeyboardInterrupt):
        prepare(request, progress=Interrupted())  # after the third file: notes, p0, p1
    for name in ("p0", "p1"):
        spoil(request.archive / name)
    prepare(request, progress=Silent())
    assert content(request) == content(replace(request, out=request.out.with_name("scratch")))


def test_what_changed_is_read_again(request_of_eight: Request) -> None:
    request = request_of_eight
    prepare(request, progress=Silent())
    spoil(request.archive / "p3")
    os.utime(request.archive / "p3")
    assert [(reject.file, reject.reason) for reject in prepare(request, progress=Silent()).rejects] == [
        ("notes", Reason.NOT_DICOM),
        ("p3", Reason.NOT_DICOM),
    ]


def test_other_settings_read_everything_again(request_of_eight: Request) -> None:
    request = request_of_eight
    prepare(request, progress=Silent())
    spoil(request.archive / "p3")
    images = Images(size=32, intensity=Intensity.EQUALIZED)
    other = replace(request, preparation=replace(request.preparation, images=images))
    assert ("p3", Reason.NOT_DICOM) in [(reject.file, reject.reason) for reject in prepare(other, progress=Silent()).rejects]


def test_files_that_are_gone_are_forgotten(request_of_eight: Request) -> None:
    request = request_of_eight
    prepare(request, progress=Silent())
    stamp = Stamp(size=(request.archive / "p3").stat().st_size, changed=(request.archive / "p3").stat().st_mtime_ns)
    (request.archive / "p3").unlink()
    assert prepare(request, progress=Silent()).images == 7
    cache = Cache(request.cache, request.preparation.images)
    assert not cache.has("p3", stamp)
    cache.close()


def test_round_trip_and_mode(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", Images())
    kept = Outcome(stamp=STAMP, facts=FACTS, image=bytes(range(8)))
    cache.put("caf\udce9", kept)
    cache.put("bad", Outcome(stamp=STAMP, reason=Reason.TRUNCATED))
    for reason in (Reason.CRASHED, Reason.TOO_SLOW, Reason.UNREADABLE):
        cache.put("other", Outcome(stamp=STAMP, reason=reason))
    cache.put("changing", Outcome(facts=FACTS, image=b"12"))
    cache.close()
    cache = Cache(tmp_path / "cache", Images())
    assert cache.get("caf\udce9", STAMP) == kept
    assert cache.get("bad", STAMP) == Outcome(stamp=STAMP, reason=Reason.TRUNCATED)
    assert not any(cache.has(name, STAMP) for name in ("other", "changing"))
    assert not cache.has("bad", Stamp(size=7, changed=8))
    cache.close()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o600


def test_a_damaged_cache_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64)
    cache = Cache(tmp_path / "cache", Images())
    cache.put("a", Outcome(stamp=STAMP, reason=Reason.TRUNCATED))
    cache.close()
    cache = Cache(tmp_path / "cache", Images())
    assert cache.has("a", STAMP)
    cache.close()


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with pytest.raises(DataError, match="cannot be kept"):
        Cache(tmp_path / "cache", Images())

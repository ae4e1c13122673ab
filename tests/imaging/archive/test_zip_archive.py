"""Zip archives, read in place: the same data set as from their files, and what is refused."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli.errors import DataError
from fedcli.imaging.archive import zip_archive
from fedcli.imaging.archive.file_result import read_file, stamp_of
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.dataset.index import Pseudonyms
from fedcli.imaging.preparation import DatasetRequest, LabelFiles, prepare
from fedcli.imaging.preview import preview
from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.plan import Images
from fedcli.progress import Silent
from tests.fixtures.dicom_files import write_mammogram
from tests.fixtures.interruption import Interrupted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedcli.imaging.preparation import PreparationSummary
    from fedcli.plan import Preparation
    from fedcli.progress import Progress


def mammogram(folder: Path, name: str) -> bytes:
    pixels = np.random.default_rng(list(name.encode())).integers(0, 4096, (48, 40)).astype(np.uint16)
    return write_mammogram(folder / name, pixels).read_bytes()


def picture() -> bytes:
    return b"P5 23 37 255\n" + np.random.default_rng(1).integers(0, 256, 23 * 37).astype("u1").tobytes()


def write_zip(path: Path, members: Mapping[str, bytes], **settings: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "a", **{"compression": zipfile.ZIP_DEFLATED} | settings) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(scope="module")
def mammograms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("files")
    return {f"p{number}": mammogram(folder, f"p{number}") for number in range(8)}


def request_of(folder: Path, preparation: Preparation, out: Path) -> DatasetRequest:
    table = out.parent / "labels.csv"
    table.write_text("file,patient,density\n" + "".join(f"p{number},p{number},{'abcd'[number % 4]}\n" for number in range(8)))
    return DatasetRequest(
        archive=ImageArchive(folder=folder, workers=1), labels=LabelFiles(table=table), preparation=preparation, out=out
    )


def prepared(request: DatasetRequest, progress: Progress | None = None) -> PreparationSummary:
    return prepare(request, pseudonyms=Pseudonyms(secret=bytes(32)), progress=progress or Silent())


def paths(out: Path) -> list[str]:
    return sorted(line.split(",")[-1] for line in (out / "identities.csv").read_text().splitlines()[1:])


def test_a_zip_archive_gives_the_same_images_as_its_files(
    mammograms: dict[str, bytes], preparation: Preparation, tmp_path: Path
) -> None:
    """As a file below the archive, and as the archive itself; with a picture, a folder, and what is no image."""
    (tmp_path / "plain" / "2024").mkdir(parents=True)
    (tmp_path / "outer").mkdir()
    members = {"p0": picture(), "2024/p1": mammograms["p1"], "2024/p2": mammograms["p2"], "notes": b"not DICOM"}
    for name, content in members.items():
        (tmp_path / "plain" / name).write_bytes(content)
    write_zip(tmp_path / "outer" / "a.ZIP", {"2024/": b"", **members})
    plain = prepared(request_of(tmp_path / "plain", preparation, tmp_path / "of-files"))
    for folder, out in ((tmp_path / "outer", "of-folder"), (tmp_path / "outer" / "a.ZIP", "of-zip")):
        request = request_of(folder, preparation, tmp_path / out)
        seen = preview(request, progress=Silent())
        of_zip = prepared(request)
        assert (seen.files, seen.images, of_zip.files, of_zip.images) == (4, 3, 4, 3)
        assert paths(tmp_path / out) == ["a.ZIP/2024/p1", "a.ZIP/2024/p2", "a.ZIP/p0"]
        assert [(item.file, item.reason) for item in of_zip.rejected] == [("a.ZIP/notes", Reason.NOT_DICOM)]
        assert seen.rejections == ((Reason.NOT_DICOM, 1),)
        assert of_zip.cohort == plain.cohort
    images = [np.sort(np.load(tmp_path / out / "images.npy"), axis=0) for out in ("of-files", "of-folder", "of-zip")]
    assert np.array_equal(images[0], images[1])
    assert np.array_equal(images[0], images[2])


def test_of_a_grown_zip_archive_only_new_members_are_read(
    mammograms: dict[str, bytes], preparation: Preparation, tmp_path: Path
) -> None:
    """And an interrupted run goes on where it was: members that were read are not read again once they are spoilt."""
    path = write_zip(tmp_path / "archive" / "a.zip", {name: mammograms[name] for name in ("p0", "p1", "p2", "p3")})
    request = request_of(tmp_path / "archive", preparation, tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        prepared(request, Interrupted())  # after the third member
    spoil(path, "p0")
    assert prepared(request).images == 4
    write_zip(path, {"p4": mammograms["p4"]})
    spoil(path, "p1")
    summary = prepared(request)
    assert (summary.images, summary.rejected) == (5, ())
    afresh = prepared(replace(request, out=tmp_path / "afresh"))
    assert {item.file: item.reason for item in afresh.rejected} == dict.fromkeys(("a.zip/p0", "a.zip/p1"), Reason.ZIP_DAMAGED)


def spoil(path: Path, name: str) -> None:
    """Change a byte of a member's packed content, so that whoever reads it notices."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(name)
    content = bytearray(path.read_bytes())
    content[member.header_offset + 30 + len(name) + member.compress_size // 2] ^= 0xFF
    path.write_bytes(content)


def test_a_member_that_changed_is_read_again(mammograms: dict[str, bytes], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"p0": mammograms["p0"]})
    before = stamp_of(tmp_path, "a.zip/p0")
    path.unlink()
    write_zip(path, {"other": b"", "p0": mammograms["p0"]})
    assert stamp_of(tmp_path, "a.zip/p0") == before
    path.unlink()
    write_zip(path, {"p0": mammograms["p1"]})
    assert stamp_of(tmp_path, "a.zip/p0") not in {before, None}
    assert stamp_of(tmp_path, "a.zip/gone") is None


def with_flag(content: bytes, flag: int) -> bytes:
    """Set a flag in every local header and directory entry."""
    changed = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = content.find(signature)
        while position >= 0:
            changed[position + offset] |= flag
            position = content.find(signature, position + 4)
    return bytes(changed)


def with_second_entry(content: bytes) -> bytes:
    """Name the packed bytes of the only member twice, as bombs do that overlap."""
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry = content[start:end]
    tail = bytearray(content[end:])
    struct.pack_into("<HHI", tail, 8, 2, 2, 2 * len(entry))
    return content[:start] + entry + entry.replace(b"p0", b"p1") + bytes(tail)


def zipped(members: Mapping[str, bytes], **settings: Any) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", **{"compression": zipfile.ZIP_DEFLATED} | settings) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def test_what_is_refused_is_named_and_costs_only_itself(
    mammograms: dict[str, bytes], preparation: Preparation, tmp_path: Path
) -> None:
    whole, noise = mammograms["p0"], np.random.default_rng(1).bytes(5000)
    archive = tmp_path / "archive"
    archive.mkdir()
    files = {
        "cut.zip": zipped({"p0": whole})[:-30],
        "encrypted.zip": with_flag(zipped({"p0": whole}), 1),
        "bzip2.zip": zipped({"p0": whole}, compression=zipfile.ZIP_BZIP2),
        "bomb.zip": zipped({"p0": whole[:1000] + bytes(10_000_000), "p1": mammograms["p1"]}),
        "nested.zip": zipped({"inner.zip": zipped({"p0": whole}), "p2": mammograms["p2"]}),
        "overlapping.zip": with_second_entry(zipped({"p0": noise}, compression=zipfile.ZIP_STORED)),
        "empty.zip": zipped({}),
        "dicom.zip": mammograms["p3"],
    }
    for name, content in files.items():
        (archive / name).write_bytes(content)
    table = "file,density\nbomb.zip/p1,a\nnested.zip/p2,b\ndicom.zip,c\n"
    request = request_of(archive, preparation, tmp_path / "out")
    (tmp_path / "labels.csv").write_text(table)
    reasons = {
        "cut.zip": Reason.ZIP_DAMAGED,
        "encrypted.zip/p0": Reason.ZIP_ENCRYPTED,
        "bzip2.zip/p0": Reason.ZIP_METHOD,
        "bomb.zip/p0": Reason.ZIP_LIMIT,
        "nested.zip/inner.zip": Reason.ZIP_NESTED,
        "overlapping.zip": Reason.ZIP_LIMIT,
    }
    seen = preview(request, progress=Silent())
    summary = prepared(request)
    assert {item.file: item.reason for item in summary.rejected} == reasons
    assert paths(request.out) == ["bomb.zip/p1", "dicom.zip", "nested.zip/p2"]
    assert (seen.images, summary.images, seen.files, summary.files) == (3, 3, 9, 9)
    assert dict(seen.rejections) == {reason: list(reasons.values()).count(reason) for reason in reasons.values()}


def test_an_archive_that_becomes_readable_is_read(mammograms: dict[str, bytes], preparation: Preparation, tmp_path: Path) -> None:
    """Encryption changes neither the path nor the size and CRC of a member."""
    archive = tmp_path / "archive"
    archive.mkdir()
    content = zipped({"p0": mammograms["p0"], "p1": mammograms["p1"]})
    (archive / "a.zip").write_bytes(with_flag(content, 1))
    (archive / "p2").write_bytes(mammograms["p2"])
    request = request_of(archive, preparation, tmp_path / "out")
    assert prepared(request).images == 1
    (archive / "a.zip").write_bytes(content)
    assert prepared(request).images == 3


@pytest.mark.parametrize(("limit", "value"), [("MAX_MEMBERS", 1), ("MAX_MEMBER_BYTES", 1000)])
def test_limits(limit: str, value: int, mammograms: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_archive, limit, value)
    write_zip(tmp_path / f"{limit}.zip", {"p0": mammograms["p0"], "p1": mammograms["p1"]})
    (file, *_) = ImageArchive(folder=tmp_path, workers=1).listing().files
    assert read_file(file, folder=tmp_path, images=Images()).reason is Reason.ZIP_LIMIT


def test_names_stay_as_they_are_and_lead_nowhere(mammograms: dict[str, bytes], tmp_path: Path) -> None:
    names = ("../p1", "/p2", "a.zip/p3", "łódź/./p4")
    write_zip(tmp_path / "x.zip" / "y.zip", {name: mammograms[name[-2:]] for name in names})
    listing = ImageArchive(folder=tmp_path, workers=1).listing()
    assert listing.files == tuple(sorted(f"x.zip/y.zip/{name}" for name in names))
    assert all(read_file(file, folder=tmp_path, images=Images()).image for file in listing.files)
    assert not read_file("x.zip/y.zip/p1", folder=tmp_path, images=Images()).image


def test_only_the_beginning_of_a_member_is_unpacked_for_its_header(mammograms: dict[str, bytes], tmp_path: Path) -> None:
    spoil(write_zip(tmp_path / "a.zip", {"p0": mammograms["p0"]}), "p0")
    assert read_file("a.zip/p0", folder=tmp_path, images=Images(), headers_only=True).reason is None
    assert read_file("a.zip/p0", folder=tmp_path, images=Images()).reason is Reason.ZIP_DAMAGED


def test_a_zip_archive_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("text")
    with pytest.raises(DataError, match="expected a folder of DICOM files or a zip archive, found another file"):
        ImageArchive(folder=tmp_path / "a.zip").listing()
    with pytest.raises(RejectedError):
        zip_archive.members_of(tmp_path / "missing.zip")

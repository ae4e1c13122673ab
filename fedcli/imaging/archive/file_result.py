"""One file → its prepared image, or the reason why it is left out. `read_file` is a worker process's whole task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from fedcli.imaging import pictures
from fedcli.imaging.archive import zip_archive
from fedcli.imaging.dicom import reader as dicom
from fedcli.imaging.pixels import to_square
from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.imaging.mammogram import ImageMetadata
    from fedcli.plan import Images


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStamp:
    """Identifies one state of a file.

    Attributes:
        size: Bytes.
        changed: Time of the last change in nanoseconds; of a member of a zip archive, its CRC-32.
    """

    size: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """The result of reading one file.

    Attributes:
        stamp: The file's state when it was read; None if it changed meanwhile or cannot be examined.
        metadata: The image's metadata; of a file that is left out only whose image it is, or None.
        image: (size, size) uint16 little endian; empty if the file is left out or only headers are read.
        reason: Why the file is left out, or None.
    """

    stamp: FileStamp | None = None
    metadata: ImageMetadata | None = None
    image: bytes = b""
    reason: Reason | None = None


def read_file(file: str, *, folder: Path, images: Images, headers_only: bool = False) -> FileResult:
    """Read one file of an archive, or only its header; raises nothing."""
    before = stamp_of(folder, file)
    metadata, image, reason = None, b"", None
    try:
        metadata, image = _read(folder, file, images, headers_only=headers_only)
    except RejectedError as rejected:
        reason, metadata = rejected.reason, rejected.metadata
    except MemoryError:
        reason = Reason.TOO_LARGE
    except Exception:  # noqa: BLE001 - an unforeseen error in one file must not end a run over tens of thousands
        reason = Reason.DAMAGED
    return FileResult(stamp=before if before == stamp_of(folder, file) else None, metadata=metadata, image=image, reason=reason)


def stamp_of(folder: Path, file: str) -> FileStamp | None:
    """Return the stamp of an archive's file, or None if it cannot be examined."""
    try:
        if within := zip_archive.split(folder, file):
            member = zip_archive.member_of(*within)
            return FileStamp(size=member.file_size, changed=member.CRC)
        status = (folder / file).stat()
    except (OSError, RejectedError):
        return None
    return FileStamp(size=status.st_size, changed=status.st_mtime_ns)


def _read(folder: Path, file: str, images: Images, *, headers_only: bool) -> tuple[ImageMetadata, bytes]:
    if within := zip_archive.split(folder, file):
        with zip_archive.opened(*within, whole=not headers_only) as member:
            return _read_image(member, images, headers_only=headers_only)
    path = folder / file
    if zip_archive.is_zip(path):
        zip_archive.members_of(path)  # raises the reason for which it is listed as one file
        raise RejectedError(Reason.UNREADABLE)
    return _read_image(path, images, headers_only=headers_only)


def _read_image(source: Path | BinaryIO, images: Images, *, headers_only: bool) -> tuple[ImageMetadata, bytes]:
    """Read a DICOM file or, if it is not one, a picture, whose header states nothing that its pixels do not."""
    try:
        if headers_only:
            return dicom.read_metadata(source, images), b""
        mammogram = dicom.read(source, images)
    except RejectedError as rejected:
        if rejected.reason is not Reason.NOT_DICOM:
            raise
        mammogram = pictures.read(source)
    try:
        image = b"" if headers_only else to_square(mammogram, images).astype("<u2").tobytes()
    except RejectedError as rejected:
        rejected.metadata = mammogram.metadata
        raise
    return mammogram.metadata, image

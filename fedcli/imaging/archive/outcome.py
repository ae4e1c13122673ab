"""What reading one file gives: its image as the plan wants it, or the reason why not. This is a process's whole task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.imaging import pictures
from fedcli.imaging.dicom import mammogram as dicom
from fedcli.imaging.pixels import to_square
from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.plan import Tomosynthesis

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.plan import Images


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What tells whether a file is still the same.

    Attributes:
        size: Bytes.
        changed: Time of the last change in nanoseconds.
    """

    size: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one file.

    Attributes:
        stamp: The file as it was read; None where it changed meanwhile, or cannot be looked at.
        facts: What the header says; None where the file is left out.
        image: (size, size) uint16 little endian; empty likewise.
        reason: Why the file is left out, or None.
    """

    stamp: Stamp | None = None
    facts: dicom.Facts | None = None
    image: bytes = b""
    reason: Reason | None = None


def outcome_of(file: str, *, archive: Path, images: Images, headers_only: bool = False) -> Outcome:
    """Read one file of an archive, or its header alone and so no image; raises nothing."""
    path = archive / file
    before = stamp_of(path)
    facts, image, reason = None, b"", None
    try:
        if headers_only:
            facts = _facts(path, images)
        else:
            mammogram = _mammogram(path, images)
            facts, image = mammogram.facts, to_square(mammogram, images).astype("<u2").tobytes()
    except RejectedError as rejected:
        reason = rejected.reason
    except MemoryError:
        reason = Reason.TOO_LARGE
    except Exception:  # noqa: BLE001 - one file's surprise must not end a run over tens of thousands
        reason = Reason.DAMAGED
    return Outcome(
        stamp=before if before == stamp_of(path) else None,
        facts=None if reason else facts,
        image=b"" if reason else image,
        reason=reason,
    )


def stamp_of(path: Path) -> Stamp | None:
    """Return a file's stamp, or None where it cannot be had."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(size=status.st_size, changed=status.st_mtime_ns)


def _facts(path: Path, images: Images) -> dicom.Facts:
    try:
        wanted = images.tomosynthesis is not Tomosynthesis.NEVER
        return dicom.look(path, presentation=images.presentation, volumes=wanted)
    except RejectedError as rejected:
        if rejected.reason is not Reason.NOT_DICOM:
            raise
    return pictures.read(path).facts  # there is no more header than that


def _mammogram(path: Path, images: Images) -> dicom.Mammogram:
    try:
        return dicom.read(
            path,
            frames=images.frames,
            presentation=images.presentation,
            volumes=images.tomosynthesis is not Tomosynthesis.NEVER,
        )
    except RejectedError as rejected:
        if rejected.reason is not Reason.NOT_DICOM:
            raise
    return pictures.read(path)

"""The images of cases whose class is asked for: of prepared data, or of a folder of DICOM files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic.dataclasses import dataclass as checked_dataclass

from fedcli import wire
from fedcli.errors import DataError
from fedcli.imaging.archive.reading import read_all
from fedcli.imaging.dataset import prepared_dataset
from fedcli.imaging.dataset.index import Pseudonyms
from fedcli.imaging.rejection import Reason
from fedcli.plan import Part, Unit
from fedcli.wire import STRICT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.imaging.archive.image_archive import ImageArchive
    from fedcli.plan import Plan
    from fedcli.progress import Progress


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class LeftOut:
    """A file that is not looked at, and why."""

    file: str
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Caseload:
    """Images, and whose they are.

    Attributes:
        pixels: (N, size, size) uint16 fixed point of [0, 1].
        cases: Pseudonym of each image's case, by the plan's unit; as in the index of prepared data.
        files: Path of each image within its folder; none where the data were prepared.
        data: Digest of the prepared data; None where files were read.
        left_out: Files of the folder that are not among the images.
    """

    pixels: NDArray[np.uint16]
    cases: tuple[str, ...]
    files: tuple[str, ...] = ()
    data: str | None = None
    left_out: tuple[LeftOut, ...] = ()


def of_prepared(folder: Path, plan: Plan, part: Part) -> Caseload:
    """Return one part of prepared data.

    Raises:
        DataError: The data were prepared otherwise than the plan says, or the part has no images.
    """
    data = prepared_dataset.load(folder, wire.digest(plan.preparation), tuple(Part))
    rows = data.rows(part)
    names = data.patients if plan.unit is Unit.PATIENT else data.studies
    found = Caseload(pixels=data.images[rows], cases=names[rows], data=data.digest)
    if not found.cases:
        msg = f"{folder}: the prepared data hold no {part} images"
        raise DataError(msg, hint="--part names another part")
    return found


def of_files(archive: ImageArchive, plan: Plan, *, secret: bytes, scratch: Path, progress: Progress) -> Caseload:
    """Return all mammograms of an archive, prepared by the plan's settings; no labels are needed.

    Args:
        archive: The archive and how it is read.
        plan: Its settings of images.
        secret: The workspace's, under which patients and studies are hashed.
        scratch: A private folder, which must outlive what is returned.
        progress: Is told how far it is.

    Raises:
        DataError: The folder cannot be read, or holds no mammogram.
    """
    with (scratch / "images").open("wb") as file:
        accepted, rejected = read_all(archive, archive.files(), plan.images, scratch=file, details={}, progress=progress)
    if not accepted:
        msg = f"{archive.folder}: none of {len(rejected)} files is a mammogram that can be read"
        raise DataError(msg, hint=f"the first is left out because: {rejected[0].reason}" if rejected else "the folder is empty")
    names = Pseudonyms(secret=secret)
    size = plan.images.size
    written = np.memmap(scratch / "images", dtype="<u2", mode="r").reshape(-1, size, size)
    positions = [item.position for item in accepted]
    return Caseload(
        pixels=written if len(positions) == len(written) else written[positions],  # some are written and then left out
        cases=tuple(
            names.patient(item.metadata.patient) if plan.unit is Unit.PATIENT else names.study(item.study) for item in accepted
        ),
        files=tuple(item.file for item in accepted),
        left_out=tuple(LeftOut(file=item.file, reason=item.reason) for item in rejected),
    )

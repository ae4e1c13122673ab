"""The images of cases whose class is asked for: of prepared data, or of a folder of DICOM files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic.dataclasses import dataclass as checked_dataclass

from fedcli import wire
from fedcli.errors import DataError
from fedcli.imaging.archive.reading import PatientRule, files_below, read_all
from fedcli.imaging.dataset import dataset
from fedcli.imaging.dataset.index import Pseudonyms
from fedcli.imaging.rejection import Reason
from fedcli.plan import Part, Unit
from fedcli.wire import STRICT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

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
        pixels: (N, size, size) uint16 fixed point of [0, 1]; mapped.
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
    data = dataset.load(folder, wire.digest(plan.preparation), tuple(Part))
    rows = data.rows(part)
    names = data.patients if plan.unit is Unit.PATIENT else data.studies
    found = Caseload(pixels=data.images[rows], cases=names[rows], data=data.digest)
    if not found.cases:
        msg = f"{folder}: the prepared data hold no {part} images"
        raise DataError(msg, hint="--part names another part")
    return found


def of_files(
    folder: Path, plan: Plan, *, secret: bytes, rule: PatientRule, workers: int, scratch: Path, progress: Progress
) -> Caseload:
    """Return all mammograms below a folder, prepared by the plan's settings; no labels are needed.

    Args:
        folder: The folder.
        plan: Its settings of images.
        secret: The workspace's, under which patients and studies are hashed.
        rule: Finds the patient.
        workers: Number of processes.
        scratch: A private folder, which must outlive what is returned.
        progress: Is told how far it is.

    Raises:
        DataError: The folder cannot be read, or holds no mammogram.
    """
    with (scratch / "images").open("wb") as file:
        taken, rejects = read_all(
            folder,
            files_below(folder),
            file,
            images=plan.images,
            told={},
            rule=rule,
            workers=workers,
            progress=progress,
        )
    if not taken:
        msg = f"{folder}: none of {len(rejects)} files is a mammogram that can be read"
        raise DataError(msg, hint=f"the first is left out because: {rejects[0].reason}" if rejects else "the folder is empty")
    names = Pseudonyms(secret=secret)
    size = plan.images.size
    return Caseload(
        pixels=np.memmap(scratch / "images", dtype="<u2", mode="r", shape=(len(taken), size, size)),
        cases=tuple(names.patient(item.patient) if plan.unit is Unit.PATIENT else names.study(item.study) for item in taken),
        files=tuple(item.file for item in taken),
        left_out=tuple(LeftOut(file=item.file, reason=item.reason) for item in rejects),
    )

"""The images of cases whose class is to be predicted: from prepared data, or from a folder of DICOM files."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.imaging.archive.image_archive import ImageArchive
    from fedcli.imaging.mammogram import ImageMetadata
    from fedcli.plan import Plan
    from fedcli.progress import Progress


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SkippedFile:
    """A file without a prediction, and why."""

    file: str
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictionInput:
    """Images, and the cases that they belong to.

    Attributes:
        pixels: (N, size, size) uint16 fixed point of [0, 1].
        cases: Pseudonym of each image's case, by the plan's unit; as in the index of prepared data.
        files: Path of each image within its folder; none for prepared data.
        titles: Side and view of each image; none for prepared data.
        patients: The patient's identifier of each case, also of those without images; none for prepared data.
        data: Digest of the prepared data; None if files were read.
        left_out: Files of the folder that are not among the images.
        left_out_of: The same for each case, as far as the files say whose they are.
    """

    pixels: NDArray[np.uint16]
    cases: tuple[str, ...]
    files: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    patients: Mapping[str, str] = field(default_factory=dict)
    data: str | None = None
    left_out: tuple[SkippedFile, ...] = ()
    left_out_of: Mapping[str, tuple[SkippedFile, ...]] = field(default_factory=dict)


def from_prepared(folder: Path, plan: Plan, part: Part) -> PredictionInput:
    """Return one part of prepared data.

    Raises:
        DataError: The data were not prepared by this plan, or the part has no images.
    """
    data = prepared_dataset.load(folder, wire.digest(plan.preparation), tuple(Part))
    rows = data.rows(part)
    names = data.patients if plan.unit is Unit.PATIENT else data.studies
    if not names[rows]:
        msg = f"{folder}: the prepared data have no {part} images"
        raise DataError(msg, hint="choose another part with --part")
    return PredictionInput(pixels=data.images[rows], cases=names[rows], data=data.digest)


def from_files(archive: ImageArchive, plan: Plan, *, secret: bytes, scratch: Path, progress: Progress) -> PredictionInput:
    """Return all mammograms of an archive, prepared by the plan's settings; no labels are needed.

    Args:
        archive: The archive and how it is read.
        plan: Its settings for images are used.
        secret: The workspace's secret, with which patients and studies are hashed.
        scratch: A private folder, which must outlive the returned images.
        progress: Told of every file.

    Raises:
        DataError: The folder cannot be read, or contains no mammogram.
    """
    listing = archive.listing()
    with (scratch / "images").open("wb") as file:
        accepted, rejected = read_all(archive, listing.files, plan.images, scratch=file, details={}, progress=progress)
    rejected += listing.left_out
    if not accepted:
        msg = f"{archive.folder}: none of {len(rejected)} files is a mammogram that can be read"
        raise DataError(msg, hint=f"the first is left out because: {rejected[0].reason}" if rejected else "the folder is empty")
    names = Pseudonyms(secret=secret)
    patients = {_case_of(item.metadata, plan, names): item.metadata.patient for item in accepted}
    left_out_of: dict[str, tuple[SkippedFile, ...]] = {}
    for item in rejected:
        if item.metadata is not None and item.metadata.patient:
            case = _case_of(item.metadata, plan, names)
            patients[case] = item.metadata.patient
            left_out_of[case] = (*left_out_of.get(case, ()), SkippedFile(file=item.file, reason=item.reason))
    size = plan.images.size
    written = np.memmap(scratch / "images", dtype="<u2", mode="r").reshape(-1, size, size)
    positions = [item.position for item in accepted]
    return PredictionInput(
        pixels=written if len(positions) == len(written) else written[positions],  # some are written and then left out
        cases=tuple(_case_of(item.metadata, plan, names) for item in accepted),
        files=tuple(item.file for item in accepted),
        titles=tuple(f"{item.metadata.laterality} {item.metadata.view}".strip() for item in accepted),
        patients=patients,
        left_out=tuple(SkippedFile(file=item.file, reason=item.reason) for item in rejected),
        left_out_of=left_out_of,
    )


def _case_of(metadata: ImageMetadata, plan: Plan, names: Pseudonyms) -> str:
    """Return the pseudonym of the case of an image."""
    if plan.unit is Unit.PATIENT:
        return names.patient(metadata.patient)
    return names.study(metadata.study or metadata.accession or metadata.patient)

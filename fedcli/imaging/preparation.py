"""A hospital's archive and its label table → a prepared data set.

Every file below the archive is either in the data set or left out with its reason. Files are taken in the order of their paths
within the archive, each is read once, and the data set's bytes depend on the archive, the labels, the plan's settings and the
secret alone, not on the number of processes.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcli.errors import DataError, UsageError
from fedcli.imaging.archive.cache import Cache
from fedcli.imaging.archive.reading import PatientRule, Reject, Taken, files_below, read_all
from fedcli.imaging.dataset import writing
from fedcli.imaging.dataset.dataset import FILES, PAGE
from fedcli.imaging.dataset.staging import replacing
from fedcli.imaging.labels import columns, matching, split
from fedcli.imaging.labels.columns import Key, LabelColumns
from fedcli.imaging.labels.matching import Problem, Subject
from fedcli.imaging.rejection import Reason
from fedcli.plan import Part
from fedcli.private_files import SECRET_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedcli.cohort import Cohort
    from fedcli.imaging.dataset.survey import ScannerView
    from fedcli.imaging.labels.split import PartList
    from fedcli.plan import Preparation
    from fedcli.progress import Progress

_SCRATCH = "scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to prepare.

    Attributes:
        archive: The folder that is searched, with all folders below it.
        labels: CSV with the class of patients, studies or images.
        preparation: The plan's settings.
        out: The folder to write.
        secret: The workspace's secret, 32 bytes, under which identifiers are hashed.
        workers: Number of processes.
        patient_pattern: Finds the patient in Patient ID, where that differs from image to image: see `PatientRule`.
        split: CSV with the part of each patient, or None for the plan's fractions.
        columns: Names of the label table's columns.
        cluster: Address of a Dask scheduler, whose workers take the place of processes.
        limit: The largest number of files to read, spread over the archive; 0 reads all.
    """

    archive: Path
    labels: Path
    preparation: Preparation
    out: Path
    secret: bytes = field(repr=False)
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    patient_pattern: str = ""
    split: Path | None = None
    columns: LabelColumns = field(default_factory=LabelColumns)
    cluster: str = ""
    limit: int = 0

    @property
    def cache(self) -> Path:
        """Where what was read is kept, for the next run."""
        return self.out.with_name(f".{self.out.name}.cache")

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if len(self.secret) != SECRET_BYTES:
            msg = f"the secret has {SECRET_BYTES} bytes, found {len(self.secret)}"
            raise UsageError(msg)
        if self.workers < 1:
            msg = f"expected at least one worker, found {self.workers}"
            raise UsageError(msg)
        archive, out = self.archive.resolve(), self.out.resolve()
        if archive.is_relative_to(out) or out.is_relative_to(archive):
            msg = f"{self.out}: the prepared data set and the archive {self.archive} must not lie in one another"
            raise UsageError(msg)
        PatientRule(pattern=self.patient_pattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was prepared.

    Attributes:
        out: The folder.
        digest: Identifies the prepared data.
        cohort: The data set in sum.
        files: Files in the archive.
        images: Images in the data set.
        patients: Patients in the data set.
        label_key: What the label table is keyed by.
        label_column: The name of that column.
        label_problems: Rows of the label table without effect; for the site's eyes.
        rejects: Every file left out, in the order of the paths; for the site's eyes.
        scanners: The images, scanner by scanner; for the site's eyes.
    """

    out: Path
    digest: str
    cohort: Cohort
    files: int
    images: int
    patients: int
    label_key: Key
    label_column: str
    label_problems: tuple[Problem, ...]
    rejects: tuple[Reject, ...]
    scanners: tuple[ScannerView, ...]


def prepare(request: Request, *, progress: Progress) -> Summary:
    """Prepare an archive, or nothing at all.

    Raises:
        DataError: The archive, the label table or the split list cannot be used, or no image is left.
    """
    preparation = request.preparation
    table = columns.read(request.labels, request.columns)
    part_list = split.read(request.split) if request.split else None
    files = files_of(request)
    with replacing(request.out, known=(*FILES, PAGE)) as folder:
        with (folder / _SCRATCH).open("wb") as scratch, closing(Cache(request.cache, preparation.images)) as cache:
            taken, rejects = read_all(
                request.archive,
                files,
                scratch,
                images=preparation.images,
                told=matching.tell(table, files),
                rule=PatientRule(pattern=request.patient_pattern),
                workers=request.workers,
                progress=progress,
                cluster=request.cluster,
                cache=cache,
            )
            if not request.limit:
                cache.keep_only(files)
        refuse_nothing(request.archive, taken, rejects)
        joined = matching.join(table, [subject_of(item) for item in taken], preparation.classes)
        assigned = _parts(preparation, taken, part_list)
        members = [
            writing.Member(taken=item, label=outcome, part=part)
            for item, outcome, part in zip(taken, joined.outcomes, assigned, strict=True)
            if not isinstance(outcome, Reason) and part is not None
        ]
        members.sort(key=lambda member: tuple(Part).index(member.part))  # a part is one run of rows, to be mapped as it is
        rejects = sorted([*rejects, *_left_out(taken, joined.outcomes, assigned)], key=lambda reject: reject.file)
        refuse_nothing(request.archive, members, rejects)
        content = writing.Content(members=tuple(members), rejects=tuple(rejects), problems=joined.problems)
        written = writing.write(folder, folder / _SCRATCH, content, preparation=preparation, secret=request.secret)
        (folder / _SCRATCH).unlink()
    description = written.description
    return Summary(
        out=request.out,
        digest=description.digest,
        cohort=description.cohort,
        files=len(files),
        images=description.images,
        patients=sum(count.patients for count in description.cohort.parts),
        label_key=joined.key,
        label_column=joined.column,
        label_problems=joined.problems,
        rejects=tuple(rejects),
        scanners=written.scanners,
    )


def files_of(request: Request) -> tuple[str, ...]:
    """Return the paths of the files to read: all of them, or as many as the limit says, evenly spread.

    Raises:
        DataError: There is no such folder.
    """
    archive, limit = request.archive, request.limit
    if not archive.is_dir():
        msg = f"{archive}: expected a folder of DICOM files, found {'a file' if archive.exists() else 'nothing'}"
        raise DataError(msg)
    files = files_below(archive)
    if not 0 < limit < len(files):
        return files
    return tuple(files[number * len(files) // limit] for number in range(limit))


def refuse_nothing(archive: Path, left: Sequence[object], rejects: Sequence[Reject]) -> None:
    """Tell why nothing is left of an archive.

    Raises:
        DataError: Nothing is.
    """
    if left:
        return
    counts = ", ".join(f"{count} × {reason}" for reason, count in Counter(reject.reason for reject in rejects).most_common())
    msg = f"{archive}: no image is left to prepare; {counts or 'the folder has no files'}"
    raise DataError(msg)


def subject_of(item: Taken) -> Subject:
    """Return what a row of the label table may name of an image."""
    facts = item.facts
    return Subject(patient=item.patient, study=facts.study, accession=facts.accession, instance=facts.instance, file=item.file)


def _parts(preparation: Preparation, taken: Sequence[Taken], part_list: PartList | None) -> list[Part | None]:
    """Return the part of each image: its patient's, by the list or by the plan's fractions."""
    if part_list:
        return [part_list.part_of(item.patient) for item in taken]
    return [split.part_of(item.patient, split=preparation.split, seed=preparation.seed) for item in taken]


def _left_out(taken: Sequence[Taken], outcomes: Sequence[int | Reason], parts: Sequence[Part | None]) -> list[Reject]:
    rejects = []
    for item, outcome, part in zip(taken, outcomes, parts, strict=True):
        if isinstance(outcome, Reason):
            rejects.append(Reject(file=item.file, reason=outcome))
        elif part is None:
            rejects.append(Reject(file=item.file, reason=Reason.NOT_IN_SPLIT))
    return rejects

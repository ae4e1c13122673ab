"""A hospital's archive and its label table → a prepared data set.

Every file of the archive is either in the data set or left out with its reason. Files are processed in the order of their paths,
and each is read once. The data set's bytes depend only on the archive, the labels, the plan's settings and the secret, not on the
number of processes.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from fedcli.errors import DataError, UsageError
from fedcli.imaging import same_pixels
from fedcli.imaging.archive.acceptance import RejectedFile
from fedcli.imaging.archive.cache import Cache
from fedcli.imaging.archive.reading import read_all
from fedcli.imaging.dataset import writing
from fedcli.imaging.dataset.prepared_dataset import FILES, PAGE
from fedcli.imaging.labels import columns, matching, split
from fedcli.imaging.labels.columns import LabelColumns
from fedcli.imaging.labels.matching import fault_counts
from fedcli.imaging.rejection import Reason
from fedcli.plan import Part
from fedcli.staging import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedcli.cohort import Cohort
    from fedcli.imaging.archive.acceptance import AcceptedFile
    from fedcli.imaging.archive.archive_listing import ArchiveListing
    from fedcli.imaging.archive.image_archive import ImageArchive
    from fedcli.imaging.dataset.index import Pseudonyms
    from fedcli.imaging.dataset.survey import ScannerView
    from fedcli.imaging.labels.columns import LabelKey, LabelTable
    from fedcli.imaging.labels.matching import FaultCount, MatchedLabels
    from fedcli.imaging.labels.resolution import RowProblem
    from fedcli.imaging.labels.split import PartOf
    from fedcli.plan import Preparation
    from fedcli.progress import Progress

_SCRATCH = "scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFiles:
    """The tables that come with an archive.

    Attributes:
        table: CSV with the class of patients, studies or images.
        columns: The names of its columns.
        split: CSV with the part of each patient; None uses the plan's fractions.
    """

    table: Path
    columns: LabelColumns = field(default_factory=LabelColumns)
    split: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRequest:
    """Which data set to make.

    Attributes:
        archive: The archive and how it is read.
        labels: Its label table and split list.
        preparation: The plan's settings.
        out: The folder to write.
        withdrawn: Hashes of the patients that have withdrawn.
        trained: Hashes of the patients that have trained in a round; none of them can become a test patient.
        test_only: Whether all patients are test patients.
    """

    archive: ImageArchive
    labels: LabelFiles
    preparation: Preparation
    out: Path
    withdrawn: frozenset[str] = frozenset()
    trained: frozenset[str] = frozenset()
    test_only: bool = False

    def __post_init__(self) -> None:
        """Refuse an output folder within the archive, or the archive within it.

        Raises:
            UsageError: One is inside the other.
        """
        archive, out = self.archive.folder.resolve(), self.out.resolve()
        if archive.is_relative_to(out) or out.is_relative_to(archive):
            msg = f"{self.out}: the prepared data set and the archive {self.archive.folder} must not be inside one another"
            raise UsageError(msg)

    @property
    def cache(self) -> Path:
        """The file that keeps the results of reading for the next run."""
        return self.out.with_name(f".{self.out.name}.cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationSummary:
    """A data set that was made.

    Attributes:
        preparation: The plan's settings.
        digest: Identifies the prepared data.
        cohort: The data set in aggregate.
        files: Files in the archive.
        images: Images in the data set.
        label_key: What the label table is keyed by.
        label_column: The name of that column.
        label_problems: Rows of the label table without effect; for the site's eyes only.
        label_remarks: What else identifies images, and why rows and images that look alike do not match.
        rejected: Every file left out, in the order of the paths; for the site's eyes only.
        scanners: The images, scanner by scanner; for the site's eyes only.
    """

    preparation: Preparation
    digest: str
    cohort: Cohort
    files: int
    images: int
    label_key: LabelKey
    label_column: str
    label_problems: tuple[RowProblem, ...]
    label_remarks: tuple[str, ...]
    rejected: tuple[RejectedFile, ...]
    scanners: tuple[ScannerView, ...]

    @property
    def patients(self) -> int:
        """The number of patients in the data set."""
        return sum(part.patients for part in self.cohort.parts)

    @property
    def label_faults(self) -> tuple[FaultCount, ...]:
        """Rows of the label table without effect, by fault."""
        return fault_counts(self.label_problems)


def prepare(request: DatasetRequest, *, pseudonyms: Pseudonyms, progress: Progress) -> PreparationSummary:
    """Prepare an archive completely, or write nothing.

    Raises:
        DataError: The archive, the label table or the split list cannot be used, or no image is left.
    """
    preparation = request.preparation
    table = columns.read(request.labels.table, request.labels.columns)
    part_of = split.assignment(request.labels.split, preparation.split, preparation.seed, test_only=request.test_only)
    listing = request.archive.listing()
    with replacing(request.out, known=(*FILES, PAGE), what="a prepared data set") as folder:
        scratch_path = folder / _SCRATCH
        with scratch_path.open("wb") as scratch, closing(Cache(request.cache, preparation.images)) as cache:
            accepted, rejected, labels = read_labelled(request, table, listing, scratch=scratch, cache=cache, progress=progress)
        content = _content(request, accepted, rejected, labels, part_of, pseudonyms)
        written = writing.write(folder, scratch_path, content, preparation=preparation, pseudonyms=pseudonyms)
        scratch_path.unlink()
    return PreparationSummary(
        preparation=preparation,
        digest=written.description.digest,
        cohort=written.description.cohort,
        files=len(listing.files),
        images=written.description.images,
        label_key=labels.key,
        label_column=labels.column,
        label_problems=labels.problems,
        label_remarks=labels.remarks,
        rejected=content.rejected,
        scanners=written.scanners,
    )


def read_labelled(
    request: DatasetRequest,
    table: LabelTable,
    listing: ArchiveListing,
    *,
    progress: Progress,
    scratch: BinaryIO | None = None,
    cache: Cache | None = None,
) -> tuple[list[AcceptedFile], list[RejectedFile], MatchedLabels]:
    """Read an archive's files, or only their headers if there is no scratch file, and join them with the label table.

    Raises:
        DataError: No file is accepted, or no row of the table names one.
    """
    images = request.preparation.images
    accepted, rejected = read_all(
        request.archive,
        listing.files,
        images,
        scratch=scratch,
        details=matching.details_of(table, listing.files),
        progress=progress,
        cache=cache,
    )
    rejected += listing.left_out
    _refuse_empty(request.archive.folder, accepted, rejected)
    labels = matching.join(
        table,
        [item.file for item in accepted],
        [item.metadata for item in accepted],
        request.preparation.classes,
        differing=images.differing,
        exams=images.exams,
        refused={item.file: item.metadata for item in rejected},
    )
    return accepted, rejected, labels


def _content(
    request: DatasetRequest,
    accepted: Sequence[AcceptedFile],
    rejected: Sequence[RejectedFile],
    labels: MatchedLabels,
    part_of: PartOf,
    pseudonyms: Pseudonyms,
) -> writing.DatasetContent:
    """Return the images that have a class and a part, and every file left out."""
    images: list[writing.DatasetImage] = []
    rejected = list(rejected)
    shared = same_pixels.shared_images(accepted)
    for item, outcome in zip(accepted, labels.outcomes, strict=True):
        patient = item.metadata.patient
        part = part_of(patient)
        owners = map(pseudonyms.patient, {patient, *shared.get(item.digest, ())} if request.withdrawn else ())
        if not request.withdrawn.isdisjoint(owners):
            rejected.append(RejectedFile(file=item.file, reason=Reason.WITHDRAWN))
        elif isinstance(outcome, Reason):
            rejected.append(RejectedFile(file=item.file, reason=outcome))
        elif part is None:
            rejected.append(RejectedFile(file=item.file, reason=Reason.NOT_IN_SPLIT))
        else:
            images.append(writing.DatasetImage(source=item, label=outcome, part=part))
    reasons = same_pixels.without(images, shared, lambda patient: pseudonyms.patient(patient) in request.trained)
    rejected += [RejectedFile(file=file, reason=reason) for file, reason in reasons.items()]
    images = [image for image in images if image.source.file not in reasons]
    _refuse_moved(request, images, pseudonyms)
    images.sort(key=lambda image: tuple(Part).index(image.part))  # contiguous parts can be mapped into memory
    rejected.sort(key=lambda item: item.file)
    _refuse_empty(request.archive.folder, images, rejected)
    return writing.DatasetContent(images=tuple(images), rejected=tuple(rejected), problems=labels.problems)


def _refuse_moved(request: DatasetRequest, images: Sequence[writing.DatasetImage], pseudonyms: Pseudonyms) -> None:
    """Raise an error if a patient that has trained would be a test patient."""
    test = {pseudonyms.patient(image.source.metadata.patient) for image in images if image.part is Part.TEST}
    if moved := len(test & request.trained):
        msg = f"{request.out}: {moved} of the patients that have trained would be test patients"
        raise DataError(msg, hint="prepare with the split list and the patient pattern of before")


def _refuse_empty(folder: Path, left: Sequence[object], rejected: Sequence[RejectedFile]) -> None:
    """Raise an error that counts the reasons if no image is left."""
    if left:
        return
    counts = ", ".join(f"{count} × {reason}" for reason, count in Counter(item.reason for item in rejected).most_common())
    msg = f"{folder}: no image is left to prepare; {counts or 'the folder has no files'}"
    raise DataError(msg)

"""What `prepare` would make of an archive, from the headers of its files and the label table only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.imaging.dicom.syntaxes import SYNTAXES
from fedcli.imaging.labels import columns
from fedcli.imaging.labels.matching import fault_counts
from fedcli.imaging.preparation import read_labelled
from fedcli.imaging.rejection import Reason
from fedcli.plan import Frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.imaging.labels.columns import LabelKey
    from fedcli.imaging.labels.matching import FaultCount
    from fedcli.imaging.mammogram import ImageMetadata
    from fedcli.imaging.preparation import DatasetRequest
    from fedcli.progress import Progress

_PICTURES, _PICTURE_RATE = "PNG, TIFF or PGM", 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntaxCount:
    """Files of one transfer syntax.

    Attributes:
        title: Its common name.
        files: Number of files.
        megapixels: Pixels to decode, in 10**6.
        seconds: How long one processor needs to decode them.
    """

    title: str
    files: int
    megapixels: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """An archive before it is prepared.

    Attributes:
        files: Files in the archive.
        images: Images with a label.
        patients: Their patients.
        class_images: Images of each class, in the plan's order.
        syntaxes: Files that would be read, by transfer syntax, the most common first.
        rejections: Files that would be left out, by reason, the most common first.
        label_key: What the label table is keyed by.
        label_column: The name of that column.
        label_faults: Rows of the label table without effect, by fault.
        label_remarks: What else identifies images, and why rows and images that look alike do not match.
        seconds: How long decoding would take, on processors like those on which the rates were measured.
    """

    files: int
    images: int
    patients: int
    class_images: tuple[int, ...]
    syntaxes: tuple[SyntaxCount, ...]
    rejections: tuple[tuple[Reason, int], ...]
    label_key: LabelKey
    label_column: str
    label_faults: tuple[FaultCount, ...]
    label_remarks: tuple[str, ...]
    seconds: float


def preview(request: DatasetRequest, *, progress: Progress) -> Preview:
    """Examine an archive.

    Raises:
        DataError: The archive or the label table cannot be used, or no image would be left.
    """
    table = columns.read(request.labels.table, request.labels.columns)
    listing = request.archive.listing()
    accepted, rejected, labels = read_labelled(request, table, listing, progress=progress)
    counts = Counter(label for label in labels.outcomes if not isinstance(label, Reason))
    reasons = Counter(item.reason for item in rejected) + Counter(item for item in labels.outcomes if isinstance(item, Reason))
    labelled = zip(accepted, labels.outcomes, strict=True)
    syntaxes = _syntaxes([item.metadata for item in accepted], request.preparation.images.frames)
    return Preview(
        files=len(listing.files),
        images=counts.total(),
        patients=len({item.metadata.patient for item, label in labelled if not isinstance(label, Reason)}),
        class_images=tuple(counts[position] for position in range(len(request.preparation.classes))),
        syntaxes=syntaxes,
        rejections=tuple(reasons.most_common()),
        label_key=labels.key,
        label_column=labels.column,
        label_faults=fault_counts(labels.problems),
        label_remarks=labels.remarks,
        seconds=sum(syntax.seconds for syntax in syntaxes) / request.archive.num_processes,
    )


def _syntaxes(metadata: Sequence[ImageMetadata], frames: Frames) -> tuple[SyntaxCount, ...]:
    counts = []
    known = {str(syntax.identifier): syntax for syntax in SYNTAXES}
    for identifier, files in Counter(item.syntax for item in metadata).most_common():
        of_syntax = [item for item in metadata if item.syntax == identifier]
        pixels = sum(item.rows * item.columns * (1 if frames is Frames.MIDDLE else item.frames) for item in of_syntax)
        title, rate = (known[identifier].title, known[identifier].rate) if identifier else (_PICTURES, _PICTURE_RATE)
        counts.append(SyntaxCount(title=title, files=files, megapixels=pixels / 1e6, seconds=pixels / 1e6 / rate))
    return tuple(counts)

"""What `prepare` would make of an archive, from the headers of its files and the label table alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.imaging.archive.reading import PatientRule, read_all
from fedcli.imaging.dicom.syntaxes import SYNTAXES
from fedcli.imaging.labels import columns, matching
from fedcli.imaging.labels.matching import fault_counts
from fedcli.imaging.preparation import files_of, refuse_nothing, subject_of
from fedcli.imaging.rejection import Reason
from fedcli.plan import Frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.imaging.dicom.mammogram import Facts
    from fedcli.imaging.labels.columns import Key
    from fedcli.imaging.labels.matching import FaultCount
    from fedcli.imaging.preparation import Request
    from fedcli.progress import Progress

_PICTURES, _PICTURE_RATE = "PNG, TIFF or PGM", 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntaxCount:
    """Files of one transfer syntax.

    Attributes:
        title: How people call it.
        files: How many.
        megapixels: What has to be decoded of them.
        seconds: How long one processor needs for that.
    """

    title: str
    files: int
    megapixels: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """An archive before it is prepared.

    Attributes:
        files: Files found.
        images: Images with a label.
        patients: Their patients.
        class_images: Images of each class, in the plan's order.
        syntaxes: Files that would be read, by transfer syntax, the commonest first.
        rejections: Files that would be left out, by reason, the commonest first.
        label_key: What the label table is keyed by.
        label_column: The name of that column.
        label_faults: Rows of the label table without effect, by what is wrong with them.
        seconds: How long decoding would take, on processors like those that the rates were measured on.
    """

    files: int
    images: int
    patients: int
    class_images: tuple[int, ...]
    syntaxes: tuple[SyntaxCount, ...]
    rejections: tuple[tuple[Reason, int], ...]
    label_key: Key
    label_column: str
    label_faults: tuple[FaultCount, ...]
    seconds: float


def preview(request: Request, *, progress: Progress) -> Preview:
    """Look at an archive.

    Raises:
        DataError: The archive or the label table cannot be used, or no image would be left.
    """
    table = columns.read(request.labels, request.columns)
    files = files_of(request)
    images = request.preparation.images
    taken, rejects = read_all(
        request.archive,
        files,
        None,
        images=images,
        told=matching.tell(table, files),
        rule=PatientRule(pattern=request.patient_pattern),
        workers=request.workers,
        progress=progress,
        cluster=request.cluster,
    )
    refuse_nothing(request.archive, taken, rejects)
    joined = matching.join(table, [subject_of(item) for item in taken], request.preparation.classes)
    labelled = [(item, label) for item, label in zip(taken, joined.outcomes, strict=True) if not isinstance(label, Reason)]
    reasons = [reject.reason for reject in rejects] + [reason for reason in joined.outcomes if isinstance(reason, Reason)]
    counts = Counter(label for _, label in labelled)
    syntaxes = _syntaxes([item.facts for item in taken], images.frames)
    return Preview(
        files=len(files),
        images=len(labelled),
        patients=len({item.patient for item, _ in labelled}),
        class_images=tuple(counts[position] for position in range(len(request.preparation.classes))),
        syntaxes=syntaxes,
        rejections=tuple(Counter(reasons).most_common()),
        label_key=joined.key,
        label_column=joined.column,
        label_faults=fault_counts(joined.problems),
        seconds=sum(syntax.seconds for syntax in syntaxes) / request.workers,
    )


def _syntaxes(every: Sequence[Facts], frames: Frames) -> tuple[SyntaxCount, ...]:
    found = []
    known = {str(syntax.identifier): syntax for syntax in SYNTAXES}
    for identifier, files in Counter(facts.syntax for facts in every).most_common():
        of_it = [facts for facts in every if facts.syntax == identifier]
        pixels = sum(facts.rows * facts.columns * (1 if frames is Frames.MIDDLE else facts.frames) for facts in of_it)
        title, rate = (known[identifier].title, known[identifier].rate) if identifier else (_PICTURES, _PICTURE_RATE)
        found.append(SyntaxCount(title=title, files=files, megapixels=pixels / 1e6, seconds=pixels / 1e6 / rate))
    return tuple(found)

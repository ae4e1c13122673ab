"""The files of a prepared data set, written into an empty folder.

Identifiers and paths go only into the three files for the site's eyes, which only their owner can read.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedcli import wire
from fedcli.cohort import Cohort, PartCount, Rejection
from fedcli.imaging.dataset import prepared_dataset as files
from fedcli.imaging.dataset.index import Case, encode_index
from fedcli.imaging.dataset.prepared_dataset import Description, LeftOutFile, digest_of
from fedcli.imaging.dataset.survey import Survey
from fedcli.imaging.rejection import Reason
from fedcli.plan import Part
from fedcli.text.csv_text import csv_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.imaging.archive.acceptance import AcceptedFile, RejectedFile
    from fedcli.imaging.dataset.index import Pseudonyms
    from fedcli.imaging.dataset.survey import ScannerView
    from fedcli.imaging.labels.resolution import RowProblem
    from fedcli.imaging.mammogram import ImageMetadata
    from fedcli.plan import Preparation

_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetImage:
    """An image of the data set.

    Attributes:
        source: The file that it was read from.
        label: Position of its class.
        part: Its patient's part.
    """

    source: AcceptedFile
    label: int
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetContent:
    """What a data set consists of.

    Attributes:
        images: Its images, in the order of their rows.
        rejected: Every file left out, in the order of the paths.
        problems: Rows of the label table without effect.
    """

    images: tuple[DatasetImage, ...]
    rejected: tuple[RejectedFile, ...]
    problems: tuple[RowProblem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenDataset:
    """A data set on disk.

    Attributes:
        description: The content of its dataset.json.
        scanners: Its images, scanner by scanner, for the site's eyes.
    """

    description: Description
    scanners: tuple[ScannerView, ...]


def write(
    folder: Path, scratch: Path, content: DatasetContent, *, preparation: Preparation, pseudonyms: Pseudonyms
) -> WrittenDataset:
    """Write all files of a data set except the page.

    Args:
        folder: The folder.
        scratch: Images by position, uint16, one after another.
        content: What belongs to the data set and what does not; at least one image does.
        preparation: The plan's settings.
        pseudonyms: Hashes identifiers under the workspace's secret.
    """
    cases = [_case(row, image, preparation, pseudonyms) for row, image in enumerate(content.images)]
    index = encode_index(cases)
    (folder / files.INDEX).write_bytes(index)
    survey = Survey((image.source.metadata.scanner for image in content.images), preparation.images)
    images_sha256 = _write_images(folder / files.IMAGES, scratch, content.images, preparation.images.size, survey)
    index_sha256 = wire.sha256(index)
    description = Description(
        digest=digest_of(images_sha256, index_sha256),
        images_sha256=images_sha256,
        index_sha256=index_sha256,
        images=len(content.images),
        size=preparation.images.size,
        classes=preparation.classes,
        cohort=cohort_of(
            preparation=wire.digest(preparation),
            classes=preparation.classes,
            cases=cases,
            metadata=[image.source.metadata for image in content.images],
            histogram=survey.histogram,
            reasons=[rejected.reason for rejected in content.rejected if rejected.reason is not Reason.WITHDRAWN],
        ),
        left_out=tuple(LeftOutFile(file=pseudonyms.file(item.file), reason=item.reason) for item in content.rejected),
    )
    (folder / files.DESCRIPTION).write_bytes(wire.encode(description))
    _write_tables(folder, content, cases)
    return WrittenDataset(description=description, scanners=survey.views())


def _case(row: int, image: DatasetImage, preparation: Preparation, pseudonyms: Pseudonyms) -> Case:
    return Case(
        row=row,
        patient=pseudonyms.patient(image.source.metadata.patient),
        study=pseudonyms.study(image.source.study),
        laterality=image.source.metadata.laterality,
        view=image.source.metadata.view,
        label=preparation.classes[image.label],
        part=image.part,
    )


def _write_images(path: Path, scratch: Path, images: Sequence[DatasetImage], size: int, survey: Survey) -> str:
    """Copy the images into one .npy file, add each to the survey, and return the file's SHA-256.

    It does not write through a memory map, because a full disk would then kill the process.
    """
    header = {"descr": "<u2", "fortran_order": False, "shape": (len(images), size, size)}
    stride = size * size * 2
    with path.open("w+b") as target, scratch.open("rb") as prepared:
        np.lib.format.write_array_header_1_0(target, header)
        for image in images:
            prepared.seek(image.source.position * stride)
            content = prepared.read(stride)
            pixels = np.frombuffer(content, "<u2").reshape(size, size)
            survey.add(pixels, image.source.metadata, part=image.part, label=image.label)
            target.write(content)
        target.seek(0)
        return hashlib.file_digest(target, "sha256").hexdigest()


def _write_tables(folder: Path, content: DatasetContent, cases: Sequence[Case]) -> None:
    parts = sorted({(case.patient, case.part.value) for case in cases})
    _write_table(folder / files.SPLIT, ("patient", "part"), parts)
    identities = [
        (case.row, case.patient, source.metadata.patient, case.study, source.study, source.file)
        for case, source in zip(cases, (image.source for image in content.images), strict=True)
    ]
    columns = ("row", "patient_hash", "patient", "study_hash", "study", "path")
    _write_table(folder / files.IDENTITIES, columns, identities, mode=_OWNER_ONLY)
    rejected = [(item.file, item.reason.value) for item in content.rejected]
    _write_text(folder / files.REJECTS, csv_text([("path", "reason"), *rejected]), mode=_OWNER_ONLY)
    problems = [(problem.line, problem.key, problem.fault.value) for problem in content.problems]
    _write_text(folder / files.LABEL_PROBLEMS, csv_text([("line", "key", "problem"), *problems]), mode=_OWNER_ONLY)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], *, mode: int = 0o666) -> None:
    """Write a table that is the way back from pseudonyms: every value as it is, unlike the lists for people."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    _write_text(path, text.getvalue(), mode=mode)


def _write_text(path: Path, text: str, *, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    # File names need not be UTF-8: their bytes are written unchanged.
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(text)


_SHARES = 100_000


def cohort_of(
    *,
    preparation: str,
    classes: Sequence[str],
    cases: Sequence[Case],
    metadata: Sequence[ImageMetadata],
    histogram: NDArray[np.int64],
    reasons: Iterable[Reason],
) -> Cohort:
    """Summarise a data set.

    Args:
        preparation: Digest of the settings.
        classes: The plan's classes.
        cases: One per image, at least one.
        metadata: One per image.
        histogram: Pixels of all images in equal bins of [0, 1].
        reasons: One per file left out.
    """
    megapixels = [round(item.rows * item.columns / 1e6, 2) for item in metadata]
    return Cohort(
        preparation=preparation,
        megapixels=(min(megapixels), max(megapixels)),
        detectors=tuple(sorted({item.detector for item in metadata} - {""})),
        image_types=tuple(sorted({item.image_type for item in metadata})),
        bits=tuple(sorted({item.bits for item in metadata})),
        parts=(_count(Part.TRAIN, cases, classes), _count(Part.VALIDATION, cases, classes), _count(Part.TEST, cases, classes)),
        histogram=tuple(round(_SHARES * count / int(histogram.sum())) for count in histogram.tolist()),
        rejections=tuple(Rejection(reason=reason, files=files) for reason, files in sorted(Counter(reasons).items())),
    )


def _count(part: Part, cases: Sequence[Case], classes: Sequence[str]) -> PartCount:
    members = [case for case in cases if case.part is part]
    of_class = Counter(case.label for case in members)
    return PartCount(
        part=part,
        patients=len({case.patient for case in members}),
        images=len(members),
        class_images=tuple(of_class[name] for name in classes),
    )

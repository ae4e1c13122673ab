"""The files of a prepared data set, written into an empty folder.

Identifiers and paths go into the three files for the site's eyes, which only their owner can read, and nowhere else.
"""

from __future__ import annotations

import csv
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedcli import wire
from fedcli.imaging.dataset import dataset
from fedcli.imaging.dataset.census import cohort_of
from fedcli.imaging.dataset.dataset import Description, LeftOut, digest_of
from fedcli.imaging.dataset.index import Case, Pseudonyms, encode_index
from fedcli.imaging.dataset.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from fedcli.imaging.archive.reading import Reject, Taken
    from fedcli.imaging.dataset.survey import ScannerView
    from fedcli.imaging.labels.matching import Problem
    from fedcli.plan import Part, Preparation

_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An image of the data set.

    Attributes:
        taken: The file it was read from.
        label: Position of its class.
        part: Its patient's part.
    """

    taken: Taken
    label: int
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a data set is made of.

    Attributes:
        members: Its images, in their order.
        rejects: Every file left out, in the order of the paths.
        problems: Rows of the label table without effect.
    """

    members: tuple[Member, ...]
    rejects: tuple[Reject, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A data set on disk.

    Attributes:
        description: What its dataset.json says.
        scanners: Its images, scanner by scanner, for the site's eyes.
    """

    description: Description
    scanners: tuple[ScannerView, ...]


def write(folder: Path, scratch: Path, content: Content, *, preparation: Preparation, secret: bytes) -> Written:
    """Write all files of a data set, but for the page.

    Args:
        folder: Where to.
        scratch: Images by position, uint16, one after another.
        content: What belongs to the data set, and what does not; at least one image does.
        preparation: The plan's settings.
        secret: The workspace's secret.
    """
    pseudonyms = Pseudonyms(secret=secret)
    members = content.members
    cases = [_case(row, member, preparation, pseudonyms) for row, member in enumerate(members)]
    index = encode_index(cases)
    (folder / dataset.INDEX).write_bytes(index)
    survey = Survey((member.taken.facts.scanner for member in members), preparation.images)
    images_sha256 = _write_images(folder / dataset.IMAGES, scratch, members, preparation.images.size, survey)
    index_sha256 = wire.sha256(index)
    description = Description(
        digest=digest_of(images_sha256, index_sha256),
        images_sha256=images_sha256,
        index_sha256=index_sha256,
        images=len(members),
        size=preparation.images.size,
        classes=preparation.classes,
        cohort=cohort_of(
            preparation=wire.digest(preparation),
            classes=preparation.classes,
            cases=cases,
            facts=[member.taken.facts for member in members],
            histogram=survey.histogram,
            reasons=[reject.reason for reject in content.rejects],
        ),
        left_out=tuple(LeftOut(file=pseudonyms.file(reject.file), reason=reject.reason) for reject in content.rejects),
    )
    (folder / dataset.DESCRIPTION).write_bytes(wire.encode(description))
    _write_tables(folder, content, cases)
    return Written(description=description, scanners=survey.views())


def _case(row: int, member: Member, preparation: Preparation, pseudonyms: Pseudonyms) -> Case:
    return Case(
        row=row,
        patient=pseudonyms.patient(member.taken.patient),
        study=pseudonyms.study(member.taken.study),
        laterality=member.taken.facts.laterality,
        view=member.taken.facts.view,
        label=preparation.classes[member.label],
        part=member.part,
    )


def _write_images(path: Path, scratch: Path, members: Sequence[Member], size: int, survey: Survey) -> str:
    """Copy the members' images into one .npy file, show each to the survey, and return the file's SHA-256.

    Plain writes, because a full disk under a memory map would end the process.
    """
    header = {"descr": "<u2", "fortran_order": False, "shape": (len(members), size, size)}
    stride = size * size * 2
    with path.open("w+b") as target, scratch.open("rb") as source:
        np.lib.format.write_array_header_1_0(target, header)
        for member in members:
            source.seek(member.taken.position * stride)
            image = source.read(stride)
            survey.add(
                np.frombuffer(image, "<u2").reshape(size, size),
                member.taken.facts,
                part=member.part,
                label=member.label,
                patient=member.taken.patient,
            )
            target.write(image)
        target.seek(0)
        return hashlib.file_digest(target, "sha256").hexdigest()


def _write_tables(folder: Path, content: Content, cases: Sequence[Case]) -> None:
    parts = sorted({(case.patient, case.part.value) for case in cases})
    _write_table(folder / dataset.SPLIT, ("patient", "part"), parts)
    identities = [
        (case.row, case.patient, member.taken.patient, case.study, member.taken.study, member.taken.file)
        for case, member in zip(cases, content.members, strict=True)
    ]
    columns = ("row", "patient_hash", "patient", "study_hash", "study", "path")
    _write_table(folder / dataset.IDENTITIES, columns, identities, mode=_OWNER_ONLY)
    rejects = [(reject.file, reject.reason.value) for reject in content.rejects]
    _write_table(folder / dataset.REJECTS, ("path", "reason"), rejects, mode=_OWNER_ONLY)
    problems = [(problem.line, problem.key, problem.fault.value) for problem in content.problems]
    _write_table(folder / dataset.LABEL_PROBLEMS, ("line", "key", "problem"), problems, mode=_OWNER_ONLY)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], *, mode: int = 0o666) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    # A name in the archive need not be UTF-8: its bytes are written as they are.
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)

"""All files below a folder → one prepared image each, or the reason why not.

Images are appended to a scratch file as they come, so that memory holds only what the headers say. What a cache holds is not read
again.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fedcli.errors import DataError, UsageError
from fedcli.imaging.archive import cluster as clusters
from fedcli.imaging.archive import pool
from fedcli.imaging.archive.outcome import Outcome, outcome_of, stamp_of
from fedcli.imaging.dicom.kinds import TOMOSYNTHESIS
from fedcli.imaging.rejection import Reason
from fedcli.plan import Tomosynthesis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fedcli.imaging.archive.cache import Cache
    from fedcli.imaging.dicom import mammogram
    from fedcli.imaging.labels.matching import Telling
    from fedcli.plan import Images
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A file left out.

    Attributes:
        file: Path within the archive, with '/'.
        reason: Why.
    """

    file: str
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A file whose image is in the scratch file.

    Attributes:
        file: Path within the archive, with '/'.
        patient: The patient's identifier, as the patient rule finds it.
        facts: What the header says.
        position: The image's place in the scratch file.
    """

    file: str
    patient: str
    facts: mammogram.Facts
    position: int

    @property
    def study(self) -> str:
        """What identifies the study: its UID, else the accession number, else the patient."""
        return self.facts.study or self.facts.accession or self.patient


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientRule:
    """How Patient ID (0010,0020) becomes the patient's identifier, where it differs from image to image.

    Attributes:
        pattern: Regular expression, searched for; its only group or the one named 'patient' is the identifier. '' takes
            Patient ID as it is.
    """

    pattern: str = ""

    def __post_init__(self) -> None:
        """Refuse a pattern that does not say where the patient is."""
        hint = r"for example (P_\d+) finds P_00173 in Mass-Test_P_00173_LEFT_CC"
        try:
            compiled = re.compile(self.pattern)
        except re.error as error:
            msg = f"patient pattern {self.pattern!r} is not a regular expression: {error}"
            raise UsageError(msg, hint=hint) from error
        if self.pattern and compiled.groups != 1 and "patient" not in compiled.groupindex:
            msg = f"patient pattern {self.pattern!r} needs one group, or one named 'patient'; found {compiled.groups}"
            raise UsageError(msg, hint=hint)

    def patient_of(self, identifier: str) -> str:
        """Return the patient, or '' where the pattern finds none."""
        if not self.pattern:
            return identifier
        match = re.search(self.pattern, identifier)
        return (match["patient" if "patient" in match.re.groupindex else 1] or "") if match else ""


def files_below(folder: Path) -> tuple[str, ...]:
    """Return the paths of all files below a folder, relative to it, with '/', sorted; links are followed, loops are not.

    Raises:
        DataError: The folder or one below it cannot be listed.
    """

    def refuse(error: OSError) -> None:
        msg = f"{error.filename}: the folder cannot be read: {error.strerror}"
        raise DataError(msg) from error

    found: list[str] = []
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        visited.add(os.path.realpath(parent))
        folders[:] = [name for name in sorted(folders) if os.path.realpath(Path(parent, name)) not in visited]
        found += [Path(parent, name).relative_to(folder).as_posix() for name in names]
    return tuple(sorted(found))


def read_all(
    archive: Path,
    files: tuple[str, ...],
    scratch: BinaryIO | None,
    *,
    images: Images,
    told: Mapping[str, Telling],
    rule: PatientRule,
    workers: int,
    progress: Progress,
    cluster: str = "",
    cache: Cache | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Taken], list[Reject]]:
    """Read files in parallel and append their images, in the order of the files, to the scratch file.

    Args:
        archive: The folder.
        files: Paths within it.
        scratch: Takes the images; None reads headers alone.
        images: The plan's settings.
        told: What the label table tells of files that do not tell it themselves.
        rule: Finds the patient.
        workers: Number of processes.
        progress: Is told how far it is.
        cluster: Address of a Dask scheduler, whose workers then take the place of processes.
        cache: What was read before, and what is read now.
        clock: Seconds, for the rate.
    """
    taken: list[Taken] = []
    rejects: list[Reject] = []
    instances: set[str] = set()
    task = partial(outcome_of, archive=archive.resolve(), images=images, headers_only=scratch is None)
    outcomes = _outcomes(task, archive, files, workers=workers, cluster=cluster, cache=cache)
    began, total = clock(), 0
    with progress.track("prepare", len(files), "files") as advance:
        for file, (outcome, is_new) in zip(files, outcomes, strict=True):
            if outcome.facts is None:
                rejects.append(Reject(file=file, reason=outcome.reason or Reason.DAMAGED))
            else:
                facts = _completed(outcome.facts, told.get(file))
                patient = rule.patient_of(facts.patient)
                if reason := _refusal(facts, patient, instances):
                    rejects.append(Reject(file=file, reason=reason))
                else:
                    instances.add(facts.instance)
                    taken.append(Taken(file=file, patient=patient, facts=facts, position=len(taken)))
                    if scratch:
                        scratch.write(outcome.image)
            total += outcome.stamp.size if is_new and outcome.stamp else 0
            rate = f"{total / max(clock() - began, 1e-3) / 1e6:.3g} MB/s"
            advance(1, f"{rate}, {len(rejects)} left out" if rejects else rate)
    return _without_doubled(taken, rejects, images.tomosynthesis)


def _outcomes(
    task: Callable[[str], Outcome], archive: Path, files: tuple[str, ...], *, workers: int, cluster: str, cache: Cache | None
) -> Iterator[tuple[Outcome, bool]]:
    """Yield what each file gives, and whether it was read now; what was is kept."""
    stamps = {file: stamp for file in files if cache and (stamp := stamp_of(archive / file)) and cache.has(file, stamp)}
    new = [file for file in files if file not in stamps]
    lost, late = Outcome(reason=Reason.CRASHED), Outcome(reason=Reason.TOO_SLOW)
    if cluster and new:
        reading = clusters.in_order(task, new, address=cluster, lost=lost)
    else:
        reading = pool.in_order(task, new, workers=workers, lost=lost, late=late)
    with closing(reading):
        for file in files:
            if cache and file in stamps:
                yield cache.get(file, stamps[file]), False
                continue
            outcome = next(reading)
            if cache:
                cache.put(file, outcome)
            yield outcome, True


def _without_doubled(taken: list[Taken], rejects: list[Reject], tomosynthesis: Tomosynthesis) -> tuple[list[Taken], list[Reject]]:
    """Leave volumes out where the plan wants it and the study has a 2-D image of the same side and view."""
    if tomosynthesis is not Tomosynthesis.WITHOUT_2D:
        return taken, rejects

    def shown(item: Taken) -> tuple[str, ...]:
        return item.patient, item.study, item.facts.laterality, item.facts.view

    flat = {shown(item) for item in taken if item.facts.image_type != TOMOSYNTHESIS}
    volumes = [item for item in taken if item.facts.image_type == TOMOSYNTHESIS]
    doubled = {item.file for item in volumes if all(shown(item)) and shown(item) in flat}
    rejects += [Reject(file=file, reason=Reason.HAS_2D) for file in doubled]
    return [item for item in taken if item.file not in doubled], rejects


def _completed(facts: mammogram.Facts, told: Telling | None) -> mammogram.Facts:
    """Return the facts with what the label table tells where the file itself does not."""
    if told is None:
        return facts
    return replace(
        facts,
        patient=facts.patient or told.patient,
        study=facts.study or told.study,
        accession=facts.accession or told.accession,
        laterality=facts.laterality or told.laterality,
        view=facts.view or told.view,
    )


def _refusal(facts: mammogram.Facts, patient: str, instances: set[str]) -> Reason | None:
    if not facts.patient:
        return Reason.NO_PATIENT
    if not patient:
        return Reason.OTHER_PATIENT
    return Reason.COPY if facts.instance and facts.instance in instances else None

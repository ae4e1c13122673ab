"""All files below a folder → one prepared image each, or the reason why not.

Images are appended to a scratch file as they come, so that memory holds only what the headers say.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fedcli.errors import DataError, UsageError
from fedcli.imaging import dicom
from fedcli.imaging.pixels import to_square
from fedcli.imaging.pool import in_order
from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    facts: dicom.Facts
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
    scratch: BinaryIO,
    *,
    images: Images,
    rule: PatientRule,
    workers: int,
    progress: Progress,
) -> tuple[list[Taken], list[Reject]]:
    """Read files in parallel and append their images, in the order of the files, to the scratch file."""
    taken: list[Taken] = []
    rejects: list[Reject] = []
    instances: set[str] = set()
    task = partial(_read, archive=archive, images=images)
    with progress.track("prepare", len(files), "files") as advance:
        for file, result in zip(files, in_order(task, files, workers=workers, lost=Reason.CRASHED), strict=True):
            if isinstance(result, Reason):
                rejects.append(Reject(file=file, reason=result))
            else:
                facts, image = result
                patient = rule.patient_of(facts.patient)
                if reason := _refusal(facts, patient, instances):
                    rejects.append(Reject(file=file, reason=reason))
                else:
                    instances.add(facts.instance)
                    taken.append(Taken(file=file, patient=patient, facts=facts, position=len(taken)))
                    scratch.write(image.astype("<u2").tobytes())
            advance(1, f"{len(rejects)} left out" if rejects else "")
    return taken, rejects


def _read(file: str, *, archive: Path, images: Images) -> tuple[dicom.Facts, NDArray[np.uint16]] | Reason:
    """Do one file's work, in a process of its own."""
    try:
        mammogram = dicom.read(archive / file)
        return mammogram.facts, to_square(mammogram, images)
    except RejectedError as rejected:
        return rejected.reason
    except MemoryError:
        return Reason.TOO_LARGE
    except Exception:  # noqa: BLE001 - one file's surprise must not end a run over tens of thousands
        return Reason.DAMAGED


def _refusal(facts: dicom.Facts, patient: str, instances: set[str]) -> Reason | None:
    if not facts.patient:
        return Reason.NO_PATIENT
    if not patient:
        return Reason.OTHER_PATIENT
    return Reason.COPY if facts.instance and facts.instance in instances else None

"""An archive: a folder or a zip archive with files of images, and how it is read."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fedcli.errors import DataError, UsageError
from fedcli.imaging.archive import zip_archive
from fedcli.imaging.archive.archive_listing import listing_of, listing_of_zip

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.imaging.archive.archive_listing import ArchiveListing


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientRule:
    """How Patient ID (0010,0020) becomes the patient's identifier, for archives where it differs from image to image.

    Attributes:
        pattern: Regular expression that is searched for; its only group, or the one named 'patient', is the identifier. ''
            uses Patient ID as it is.
    """

    pattern: str = ""

    def __post_init__(self) -> None:
        """Refuse a pattern that does not say where the patient is.

        Raises:
            UsageError: It is not a regular expression, or has neither one group nor one named 'patient'.
        """
        hint = r"for example, (P_\d+) matches P_00173 in Mass-Test_P_00173_LEFT_CC"
        try:
            compiled = re.compile(self.pattern)
        except re.error as error:
            msg = f"patient pattern {self.pattern!r} is not a regular expression: {error}"
            raise UsageError(msg, hint=hint) from error
        if self.pattern and compiled.groups != 1 and "patient" not in compiled.groupindex:
            msg = f"patient pattern {self.pattern!r} needs one group, or one named 'patient'; found {compiled.groups}"
            raise UsageError(msg, hint=hint)

    def patient_of(self, identifier: str) -> str:
        """Return the patient, or '' if the pattern does not match."""
        if not self.pattern:
            return identifier
        match = re.search(self.pattern, identifier)
        return (match["patient" if "patient" in match.re.groupindex else 1] or "") if match else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageArchive:
    """A folder of images and how to read it.

    Attributes:
        folder: The folder, or one zip archive; all folders below it and all zip archives in them are searched.
        patient_rule: Extracts the patient from Patient ID.
        workers: Number of processes; 0 means one per processor.
        cluster: Address of a Dask scheduler whose workers read the files instead of processes; '' for none.
        limit: The largest number of files to read, spread evenly over the archive; 0 means all.
    """

    folder: Path
    patient_rule: PatientRule = field(default_factory=PatientRule)
    workers: int = 0
    cluster: str = ""
    limit: int = 0

    def __post_init__(self) -> None:
        """Refuse a negative number of processes.

        Raises:
            UsageError: It is negative.
        """
        if self.workers < 0:
            msg = f"expected 0 or more workers, found {self.workers}"
            raise UsageError(msg)

    @property
    def num_processes(self) -> int:
        """The number of processes that read the files."""
        return self.workers or len(os.sched_getaffinity(0))

    @property
    def root(self) -> Path:
        """The folder, without links, that the paths of the files are relative to."""
        return self.folder.parent.resolve() if zip_archive.is_zip(self.folder) else self.folder.resolve()

    def listing(self) -> ArchiveListing:
        """Return the files to read, each once, and what cannot be listed.

        Raises:
            DataError: The folder does not exist or cannot be listed.
        """
        is_zip = zip_archive.is_zip(self.folder)
        if not is_zip and not self.folder.is_dir():
            what = "another file" if self.folder.exists() else "nothing"
            msg = f"{self.folder}: expected a folder of DICOM files or a zip archive, found {what}"
            raise DataError(msg)
        listing = listing_of_zip(self.folder) if is_zip else listing_of(self.folder)
        paths = listing.files
        if not 0 < self.limit < len(paths):
            return listing
        return replace(listing, files=tuple(paths[number * len(paths) // self.limit] for number in range(self.limit)))

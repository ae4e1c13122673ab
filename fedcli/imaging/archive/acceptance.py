"""Which of the files that were read are used: those with a patient, once each, without volumes that the plan leaves out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fedcli.imaging.mammogram import TOMOSYNTHESIS
from fedcli.imaging.rejection import Reason
from fedcli.plan import ModifiedViews

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedcli.imaging.archive.file_result import FileResult
    from fedcli.imaging.archive.image_archive import PatientRule
    from fedcli.imaging.labels.matching import FileDetails
    from fedcli.imaging.mammogram import ImageMetadata
    from fedcli.plan import Images

_REPEATED = ("patient", "study", "accession", "date", "laterality", "view", "detector", "image_type", "scanner", "syntax")
"""What many files state alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedFile:
    """A file that is left out.

    Attributes:
        file: Path within the archive, with '/'.
        reason: Why.
        metadata: Whose image it is, as far as its header and the label table say; None if nothing was read.
    """

    file: str
    reason: Reason
    metadata: ImageMetadata | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedFile:
    """A file whose image is in the scratch file.

    Attributes:
        file: Path within the archive, with '/'.
        metadata: The file's metadata, completed by the label table; the patient is the one that the patient rule extracts.
        position: The image's position in the scratch file.
        digest: SHA-256 of the image; empty if only the header was read.
    """

    file: str
    metadata: ImageMetadata
    position: int
    digest: bytes = b""

    @property
    def study(self) -> str:
        """The study: its UID, else the accession number, else the patient."""
        return self.metadata.exam

    @property
    def projection(self) -> tuple[str, ...]:
        """Patient, study, side and view: what a volume and a 2-D image of the same breast share."""
        return self.metadata.patient, self.study, self.metadata.laterality, self.metadata.view


class Acceptance:
    """Divides files, one after another, into accepted and rejected ones.

    Of copies of one SOP instance the first is accepted, or the first one that the label table lists.

    Attributes:
        rejected: The files that are not used.
    """

    def __init__(self, rule: PatientRule, details: Mapping[str, FileDetails], images: Images) -> None:
        self.rejected: list[RejectedFile] = []
        self._accepted: dict[str, AcceptedFile] = {}
        self._rule = rule
        self._details = details
        self._images = images
        self._texts: dict[str, str] = {}
        self._num_images = 0

    @property
    def accepted(self) -> list[AcceptedFile]:
        """The files whose images are used, in the order in which they were added."""
        return list(self._accepted.values())

    def add(self, file: str, result: FileResult) -> bool:
        """Add a file and return whether it is accepted; its image is then the next one in the scratch file."""
        reason, metadata = result.reason, result.metadata
        if metadata:
            if file in self._details:
                metadata = self._details[file].complete(metadata)
            patient = self._rule.patient_of(metadata.patient)
            reason = reason or self._reason(file, metadata, patient)
            metadata = self._kept(replace(metadata, patient=patient))
            if not reason:
                digest = hashlib.sha256(result.image).digest() if result.image else b""
                self._accept(AcceptedFile(file=file, metadata=metadata, position=self._num_images, digest=digest))
                return True
        self.rejected.append(RejectedFile(file=file, reason=reason or Reason.DAMAGED, metadata=metadata))
        return False

    def _kept(self, metadata: ImageMetadata) -> ImageMetadata:
        """Return metadata whose texts are those of other files: each text is in memory once."""
        texts: dict[str, Any] = {
            name: self._texts.setdefault(text, text) for name in _REPEATED if (text := getattr(metadata, name))
        }
        return replace(metadata, **texts)

    def _accept(self, item: AcceptedFile) -> None:
        key = item.metadata.instance or f"file {item.file}"
        if other := self._accepted.pop(key, None):
            self.rejected.append(RejectedFile(file=other.file, reason=Reason.COPY, metadata=other.metadata))
        self._accepted[key] = item
        self._num_images += 1

    def reject_volumes_with_2d(self) -> None:
        """Reject the volumes whose study has a 2-D image of the same side and view."""
        volumes = [item for item in self._accepted.values() if item.metadata.image_type == TOMOSYNTHESIS]
        if not volumes:
            return
        whole = (item for item in self._accepted.values() if item.metadata.screening)  # a spot view shows less than the volume
        flat = {item.projection for item in whole if item.metadata.image_type != TOMOSYNTHESIS}
        doubled = {item.file: item.metadata for item in volumes if all(item.projection) and item.projection in flat}
        self.rejected += [RejectedFile(file=file, reason=Reason.HAS_2D, metadata=of_file) for file, of_file in doubled.items()]
        self._accepted = {key: item for key, item in self._accepted.items() if item.file not in doubled}

    def _reason(self, file: str, metadata: ImageMetadata, patient: str) -> Reason | None:
        if not metadata.patient:
            return Reason.NO_PATIENT
        if not patient:
            return Reason.OTHER_PATIENT
        if self._images.views and metadata.view and metadata.view not in self._images.views:
            return Reason.OTHER_VIEW
        if reason := _reason_of_person(metadata, self._images):
            return reason
        excluded = self._images.modified_views is ModifiedViews.EXCLUDE
        if excluded and metadata.secondary and not metadata.view and not metadata.laterality:
            return Reason.CAPTURE
        other = self._accepted.get(metadata.instance) if metadata.instance else None
        is_listed_first = file in self._details and other is not None and other.file not in self._details
        return Reason.COPY if other is not None and not is_listed_first else None


def _reason_of_person(metadata: ImageMetadata, images: Images) -> Reason | None:
    """Return why the plan takes no image of a person of this sex and age; None where it does."""
    if images.sex and metadata.sex not in images.sex:
        return Reason.OTHER_SEX if metadata.sex else Reason.NO_SEX
    if images.age and metadata.age is None:
        return Reason.NO_AGE
    if images.age and metadata.age is not None and not images.age[0] <= metadata.age <= images.age[1]:
        return Reason.OTHER_AGE
    return None

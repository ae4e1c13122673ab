"""Which of the files that were read are used: those with a patient, once each, without volumes that the plan leaves out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

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
        return self.metadata.study or self.metadata.accession or self.metadata.patient

    @property
    def projection(self) -> tuple[str, ...]:
        """Patient, study, side and view: what a volume and a 2-D image of the same breast share."""
        return self.metadata.patient, self.study, self.metadata.laterality, self.metadata.view


class Acceptance:
    """Divides files, one after another, into accepted and rejected ones.

    Of copies of one SOP instance the first is accepted, or the first one that the label table lists.

    Attributes:
        accepted: The files whose images are used, in the order in which they were added.
        rejected: All others.
    """

    def __init__(self, rule: PatientRule, details: Mapping[str, FileDetails], images: Images) -> None:
        self.accepted: list[AcceptedFile] = []
        self.rejected: list[RejectedFile] = []
        self._rule = rule
        self._details = details
        self._images = images
        self._instances: dict[str, AcceptedFile] = {}
        self._num_images = 0

    def add(self, file: str, result: FileResult) -> bool:
        """Add a file and return whether it is accepted; its image is then the next one in the scratch file."""
        reason, metadata = result.reason, result.metadata
        if metadata:
            if file in self._details:
                metadata = self._details[file].complete(metadata)
            patient = self._rule.patient_of(metadata.patient)
            reason = reason or self._reason(file, metadata, patient)
            metadata = replace(metadata, patient=patient)
            if not reason:
                digest = hashlib.sha256(result.image).digest() if result.image else b""
                self._accept(AcceptedFile(file=file, metadata=metadata, position=self._num_images, digest=digest))
                return True
        self.rejected.append(RejectedFile(file=file, reason=reason or Reason.DAMAGED, metadata=metadata))
        return False

    def _accept(self, item: AcceptedFile) -> None:
        instance = item.metadata.instance
        if other := self._instances.get(instance):
            self.accepted.remove(other)
            self.rejected.append(RejectedFile(file=other.file, reason=Reason.COPY, metadata=other.metadata))
        if instance:
            self._instances[instance] = item
        self.accepted.append(item)
        self._num_images += 1

    def reject_volumes_with_2d(self) -> None:
        """Reject the volumes whose study has a 2-D image of the same side and view."""
        whole = [item for item in self.accepted if item.metadata.screening]  # a spot view shows less than the volume
        flat = {item.projection for item in whole if item.metadata.image_type != TOMOSYNTHESIS}
        volumes = [item for item in self.accepted if item.metadata.image_type == TOMOSYNTHESIS]
        doubled = {item.file: item.metadata for item in volumes if all(item.projection) and item.projection in flat}
        self.rejected += [RejectedFile(file=file, reason=Reason.HAS_2D, metadata=of_file) for file, of_file in doubled.items()]
        self.accepted = [item for item in self.accepted if item.file not in doubled]

    def _reason(self, file: str, metadata: ImageMetadata, patient: str) -> Reason | None:
        if not metadata.patient:
            return Reason.NO_PATIENT
        if not patient:
            return Reason.OTHER_PATIENT
        if self._images.views and metadata.view and metadata.view not in self._images.views:
            return Reason.OTHER_VIEW
        excluded = self._images.modified_views is ModifiedViews.EXCLUDE
        if excluded and metadata.secondary and not metadata.view and not metadata.laterality:
            return Reason.CAPTURE
        other = self._instances.get(metadata.instance)
        is_listed_first = file in self._details and other is not None and other.file not in self._details
        return Reason.COPY if other is not None and not is_listed_first else None

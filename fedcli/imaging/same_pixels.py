"""The same image under several patients: one image stays, and no person is in two parts.

Two patients that share an image are taken as one person under two identifiers. An image that many patients share is not of a
person but, say, a test pattern.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fedcli.imaging.rejection import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from fedcli.imaging.archive.acceptance import AcceptedFile
    from fedcli.imaging.dataset.writing import DatasetImage
    from fedcli.plan import Part

_PERSON = 8
"""Patients that share an image and may be one person."""


def shared_images(accepted: Iterable[AcceptedFile]) -> Mapping[bytes, tuple[str, ...]]:
    """Return the digests of images that several patients have, each with its patients."""
    owners: dict[bytes, dict[str, None]] = defaultdict(dict)
    for item in accepted:
        owners[item.digest][item.metadata.patient] = None
    return {digest: tuple(patients) for digest, patients in owners.items() if digest and len(patients) > 1}


def without(
    images: Sequence[DatasetImage], shared: Mapping[bytes, Collection[str]], has_trained: Callable[[str], bool]
) -> Mapping[str, Reason]:
    """Return the files to leave out and why.

    An image with contradictory labels is left out everywhere. Of one person's patients, those in another part than the first are
    left out; a patient that has trained is the first and is never left out.

    Args:
        images: The images with a class and a part, in the order of their paths.
        shared: The result of `shared_images` for all images, with or without a class.
        has_trained: Whether a patient has trained in a round.
    """
    ranked = sorted(images, key=lambda image: not has_trained(image.source.metadata.patient))
    persons = _persons([patients for patients in shared.values() if len(patients) <= _PERSON])
    labels: dict[bytes, set[int]] = defaultdict(set)
    for image in images:
        labels[image.source.digest].add(image.label)
    parts: dict[str, Part] = {}
    kept: dict[bytes, str] = {}
    reasons: dict[str, Reason] = {}
    for image in ranked:
        source, patient = image.source, image.source.metadata.patient
        part = parts.setdefault(persons.get(patient, patient), image.part)
        if source.digest in shared and len(labels[source.digest]) > 1:
            reasons[source.file] = Reason.SHARED_CONTRADICTION
        elif part is not image.part and not has_trained(patient):
            reasons[source.file] = Reason.SHARED_PERSON
        elif source.digest in shared and kept.setdefault(source.digest, patient) != patient:
            reasons[source.file] = Reason.SHARED
    return reasons


def _persons(groups: Iterable[Collection[str]]) -> Mapping[str, str]:
    """Return for each patient one that stands for its person; patients in one group are one person."""
    first: dict[str, str] = {}

    def root(patient: str) -> str:
        while first.setdefault(patient, patient) != patient:
            patient = first[patient]
        return patient

    for one, *others in groups:
        for other in others:
            first[root(other)] = root(one)
    return {patient: root(patient) for patient in first}

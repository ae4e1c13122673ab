"""Which of a patient's exams are taken, if the plan takes one.

An exam is a study, or all studies of one day. Only exams with a label count.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fedcli.imaging.rejection import Reason
from fedcli.plan import Exams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedcli.imaging.mammogram import ImageMetadata

_WITHOUT_LABEL = {Reason.NO_LABEL, Reason.UNKNOWN_CLASS}


def not_taken(images: Sequence[ImageMetadata], outcomes: Sequence[int | Reason], exams: Exams) -> Mapping[int, Reason]:
    """Return the positions of images that are left out because of their exam, and why.

    Args:
        images: All images.
        outcomes: For each image the position of its class, or the reason why it has none.
        exams: Which of a patient's exams are taken.
    """
    if exams is Exams.ALL:
        return {}
    dates: dict[tuple[str, str], str] = {}
    for image in images:  # a study has one date, also where only some of its images state it
        study = image.patient, image.exam
        dates[study] = min(filter(None, (dates.get(study), image.date)), default="")
    of_patient: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for image, outcome in zip(images, outcomes, strict=True):
        if outcome not in _WITHOUT_LABEL:
            of_patient[image.patient].add((date := dates[image.patient, image.exam], "" if date else image.exam))
    reasons: dict[int, Reason] = {}
    for number, (image, outcome) in enumerate(zip(images, outcomes, strict=True)):
        known, date = of_patient[image.patient], dates[image.patient, image.exam]
        if outcome in _WITHOUT_LABEL or len(known) == 1:
            continue
        dated = [other for other, _ in known if other]
        if not date:
            reasons[number] = Reason.NO_DATE
        elif date != (min(dated) if exams is Exams.FIRST else max(dated)):
            reasons[number] = Reason.OTHER_EXAM
    return reasons

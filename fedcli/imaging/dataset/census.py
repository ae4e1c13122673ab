"""What a prepared data set is in sum: the cohort, counted image by image."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fedcli.cohort import Cohort, PartCount, Rejection
from fedcli.plan import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedcli.imaging.dataset.index import Case
    from fedcli.imaging.dicom.mammogram import Facts
    from fedcli.imaging.rejection import Reason

_SHARES = 100_000


def cohort_of(
    *,
    preparation: str,
    classes: Sequence[str],
    cases: Sequence[Case],
    facts: Sequence[Facts],
    histogram: NDArray[np.int64],
    reasons: Iterable[Reason],
) -> Cohort:
    """Sum up a data set.

    Args:
        preparation: Digest of the settings.
        classes: The plan's classes.
        cases: One for each image, at least one.
        facts: What each image's header says.
        histogram: Pixels of all images in equal bins of [0, 1].
        reasons: One for each file left out.
    """
    megapixels = [round(fact.rows * fact.columns / 1e6, 2) for fact in facts]
    return Cohort(
        preparation=preparation,
        megapixels=(min(megapixels), max(megapixels)),
        detectors=tuple(sorted({fact.detector for fact in facts} - {""})),
        image_types=tuple(sorted({fact.image_type for fact in facts})),
        bits=tuple(sorted({fact.bits for fact in facts})),
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

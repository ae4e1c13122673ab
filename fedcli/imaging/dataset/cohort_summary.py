"""The cohort of a prepared data set, counted image by image."""

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
    from fedcli.imaging.mammogram import ImageMetadata
    from fedcli.imaging.rejection import Reason

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

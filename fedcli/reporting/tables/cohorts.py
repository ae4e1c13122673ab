"""The sites' data: the paper's Table 1, Fig. 3 and Fig. 4, from the data set records that the sites have published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.cohort import Cohort, PartCount
    from fedcli.exchange.history import History

FULL_HISTOGRAM = 100_000
"""All pixels, in the histogram's unit of a thousandth of a per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCohort:
    """One row of Table 1: a site and its data.

    Attributes:
        site: The site.
        cohort: What it has published.
        removed: Whether the site is not a member any more.
    """

    site: str
    cohort: Cohort
    removed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetTable:
    """Table 1.

    Attributes:
        rows: The sites that have published a dataset summary, by name; also sites that were members then.
        unpublished: The sites that have not.
    """

    rows: tuple[SiteCohort, ...]
    unpublished: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShares:
    """One site of Fig. 3.

    Attributes:
        site: The site.
        classes: The plan's classes, in order.
        images: Images of each class; None where withheld.
        shares: Each class's fraction of the images; all 0 where there are none, None where withheld.
    """

    site: str
    classes: tuple[str, ...]
    images: tuple[int | None, ...]
    shares: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensities:
    """One site of Fig. 4: the fraction of its pixels in each of the equal bins of [0, 1]."""

    site: str
    shares: tuple[float, ...]


def dataset_table(history: History) -> DatasetTable:
    """Return Table 1."""
    return DatasetTable(
        rows=tuple(
            SiteCohort(site=site, cohort=dataset.record.cohort, removed=site not in history.sites)
            for site, dataset in sorted(history.datasets.items())
        ),
        unpublished=tuple(site for site in history.sites if site not in history.datasets),
    )


def class_shares(history: History) -> tuple[ClassShares, ...]:
    """Return Fig. 3, over all parts of the data, as in the paper, as far as their counts are published."""
    return tuple(shares_of(row.site, history.plan.classes, row.cohort.parts) for row in dataset_table(history).rows)


def intensities(history: History) -> tuple[Intensities, ...]:
    """Return Fig. 4."""
    return tuple(
        Intensities(site=row.site, shares=tuple(share / FULL_HISTOGRAM for share in row.cohort.histogram))
        for row in dataset_table(history).rows
    )


def shares_of(name: str, classes: tuple[str, ...], parts: Sequence[PartCount]) -> ClassShares:
    """Return the class shares of a site or another group of images, over the parts that publish any."""
    counted = [part for part in parts if any(images is not None for images in part.class_images)]
    # A site may have been prepared under another list of classes: a class that it lacks counts as no images.
    columns = [*zip(*(part.class_images for part in counted), strict=True)][: len(classes)]
    lacking = (0 if counted else None,) * (len(classes) - len(columns))
    images = tuple(map(_sum, columns)) + lacking
    total = sum(part.images for part in counted) or 1
    return ClassShares(
        site=name, classes=classes, images=images, shares=tuple(None if number is None else number / total for number in images)
    )


def _sum(images: tuple[int | None, ...]) -> int | None:
    known = [number for number in images if number is not None]
    return sum(known) if len(known) == len(images) else None

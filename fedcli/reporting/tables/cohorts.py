"""The sites' data: the paper's Table 1, Fig. 3 and Fig. 4, from the data set records that operators let out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.plan import Part

if TYPE_CHECKING:
    from fedcli.cohort import Cohort, PartCount, Rejection
    from fedcli.exchange.history import History

FULL_HISTOGRAM = 100_000
"""All pixels, in the histogram's unit of a thousandth of a per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRow:
    """One institution of Table 1.

    Attributes:
        site: The institution.
        megapixels: Smallest and largest resolution, in 10**6 pixels.
        detectors: Detector types; empty where no file tells.
        image_types: '2D', 'tomosynthesis'.
        bits: Bits stored.
        train: Training part.
        validation: Validation part.
        test: Test part.
        rejections: Files left out, by reason.
    """

    site: str
    megapixels: tuple[float, float]
    detectors: tuple[str, ...]
    image_types: tuple[str, ...]
    bits: tuple[int, ...]
    train: PartCount
    validation: PartCount
    test: PartCount
    rejections: tuple[Rejection, ...]

    @property
    def parts(self) -> tuple[PartCount, PartCount, PartCount]:
        """Training, validation, test."""
        return self.train, self.validation, self.test

    @property
    def patients(self) -> int:
        """Patients of all parts."""
        return sum(part.patients for part in self.parts)

    @property
    def images(self) -> int:
        """Images of all parts."""
        return sum(part.images for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetTable:
    """Table 1.

    Attributes:
        rows: The sites that published their facts, by name.
        unpublished: The sites that did not.
    """

    rows: tuple[DatasetRow, ...]
    unpublished: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShares:
    """One site of Fig. 3.

    Attributes:
        site: The site.
        classes: The plan's classes, in order.
        images: Images of each class.
        shares: Each class's fraction of the images; all 0 where there are none.
    """

    site: str
    classes: tuple[str, ...]
    images: tuple[int, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensities:
    """One site of Fig. 4: the fraction of its pixels in each of equal bins of [0, 1]."""

    site: str
    shares: tuple[float, ...]


def dataset_table(history: History) -> DatasetTable:
    """Return Table 1."""
    rows = tuple(_row(site, cohort) for site, cohort in _cohorts(history))
    return DatasetTable(rows=rows, unpublished=tuple(site for site in history.sites if site not in history.datasets))


def class_shares(history: History, part: Part | None = None) -> tuple[ClassShares, ...]:
    """Return Fig. 3: over a part of the data, or over all of it, as the paper has it."""
    return tuple(
        _shares(site, history.plan.classes, [cohort.part(part)] if part else list(cohort.parts))
        for site, cohort in _cohorts(history)
    )


def intensities(history: History) -> tuple[Intensities, ...]:
    """Return Fig. 4."""
    return tuple(
        Intensities(site=site, shares=tuple(share / FULL_HISTOGRAM for share in cohort.histogram))
        for site, cohort in _cohorts(history)
    )


def _cohorts(history: History) -> list[tuple[str, Cohort]]:
    return [(site, history.datasets[site].record.cohort) for site in history.sites if site in history.datasets]


def _row(site: str, cohort: Cohort) -> DatasetRow:
    return DatasetRow(
        site=site,
        megapixels=cohort.megapixels,
        detectors=cohort.detectors,
        image_types=cohort.image_types,
        bits=cohort.bits,
        train=cohort.part(Part.TRAIN),
        validation=cohort.part(Part.VALIDATION),
        test=cohort.part(Part.TEST),
        rejections=cohort.rejections,
    )


def _shares(site: str, classes: tuple[str, ...], parts: list[PartCount]) -> ClassShares:
    # A site may have been prepared under another list of classes: what it lacks counts as no image.
    columns = [*zip(*(part.class_images for part in parts), strict=True)][: len(classes)]
    images = tuple(sum(column) for column in columns) + (0,) * (len(classes) - len(columns))
    total = sum(images)
    return ClassShares(site=site, classes=classes, images=images, shares=tuple(n / total if total else 0.0 for n in images))

"""A prepared data set in aggregate: the paper's Table 1 row, Fig. 3 and Fig. 4 as data.

It contains only sums over many images, so a site may publish it once its operator agrees. `imaging` computes it, a data set
record contains it, the report shows it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.plan import MAX_CLASSES, Part
from fedcli.wire import STRICT, Digest, ShortText

HISTOGRAM_BINS = 64

Share = Annotated[int, Field(ge=0, le=100_000)]
MAX_COUNT = 1_000_000_000
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PartCount:
    """The size of one part.

    Attributes:
        part: Training, validation or test.
        patients: Number of patients.
        images: Number of images.
        class_images: Images of each class, in the plan's order (Fig. 3); a withheld count is null.
    """

    part: Part
    patients: Count
    images: Count
    class_images: Annotated[tuple[Count | None, ...], Field(min_length=2, max_length=MAX_CLASSES, fail_fast=True)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Rejection:
    """Files left out for one reason."""

    reason: ShortText
    files: Count


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Cohort:
    """A prepared data set in aggregate.

    Attributes:
        preparation: Digest of the plan's settings under which it was prepared.
        megapixels: Smallest and largest stored resolution, in 10**6 pixels (Table 1).
        detectors: Detector Types (0018,7004), sorted; empty if no file states one.
        image_types: '2D', 'synthetic 2D', 'tomosynthesis'; sorted.
        bits: Values of Bits Stored (0028,0101), sorted.
        parts: Training, validation and test, in this order.
        histogram: Pixels of all prepared images in 64 equal bins of [0, 1] (Fig. 4), in thousandths of a per cent of all pixels.
        rejections: Files left out, by reason, sorted by reason.
    """

    preparation: Digest
    megapixels: tuple[Annotated[float, Field(ge=0, le=10_000)], Annotated[float, Field(ge=0, le=10_000)]]
    detectors: Annotated[tuple[ShortText, ...], Field(max_length=32, fail_fast=True)]
    image_types: Annotated[tuple[ShortText, ...], Field(max_length=8, fail_fast=True)]
    bits: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(max_length=64, fail_fast=True)]
    parts: tuple[PartCount, PartCount, PartCount]
    histogram: Annotated[tuple[Share, ...], Field(min_length=HISTOGRAM_BINS, max_length=HISTOGRAM_BINS, fail_fast=True)]
    rejections: Annotated[tuple[Rejection, ...], Field(max_length=64, fail_fast=True)]

    @model_validator(mode="after")
    def _parts_in_order(self) -> Cohort:
        if tuple(count.part for count in self.parts) != tuple(Part):
            msg = "parts must be train, validation, test"
            raise ValueError(msg)
        return self

    def part(self, part: Part) -> PartCount:
        """Return the counts of one part."""
        return self.parts[tuple(Part).index(part)]

"""What a data set looks like, scanner by scanner: intensities, brightness of the background, examples of every class (Fig. 1).

It is for the site's eyes only: it contains images, and scanner names as the files state them. Brighter is denser, so the air
around a breast, the most frequent intensity in a mammogram, is dark. If it is bright, the image is inverted: its header is wrong,
or a program has inverted it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fedcli.cohort import HISTOGRAM_BINS
from fedcli.imaging.pixels import SCALE, extent_of
from fedcli.plan import Crop, Intensity, Part

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fedcli.imaging.mammogram import ImageMetadata
    from fedcli.plan import Images

MAX_SCANNERS = 8
"""Scanners that are listed separately, those with the most images; all others are one group."""
EXAMPLES = 2
"""Examples per class and part, each of a different patient."""
EXAMPLE_SIDE = 160
TOLERATED = 0.1
"""Share of a scanner's images whose background may be bright: breasts that fill the image, films with wide frames."""
BANDS = 8
"""Equal bands of [0, 1]; the one with the most pixels is the background."""

_LEVELS_PER_BIN = (SCALE + 1) // HISTOGRAM_BINS


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An example image.

    Attributes:
        part: Its patient's part.
        label: Position of its class.
        png: The image, 8 bits, at most `EXAMPLE_SIDE` pixels wide.
    """

    part: Part
    label: int
    png: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerView:
    """All images of one scanner.

    Attributes:
        name: Manufacturer and model; '' for images that do not state it, None for the group of all other scanners.
        images: Number of its images.
        shares: Fraction of their pixels in each equal bin of [0, 1].
        background: Mean intensity of the background over its images, in [0, 1].
        mean: Mean of all its pixels, in [0, 1].
        bright: Images whose background is in the brighter half.
        without_view: Images of which neither file nor label table states the view.
        annotated: Images whose files say that text is burned into the pixels.
        contradictory: Images whose files contradict themselves about which end is white; the one in which air is dark was taken.
        warnings: One for each scanner of which more than a few images seem to be inverted; several for the group.
        examples: Example images, in the order of parts and classes.
    """

    name: str | None
    images: int
    shares: tuple[float, ...]
    background: float
    mean: float
    bright: int
    without_view: int = 0
    annotated: int = 0
    contradictory: int = 0
    warnings: tuple[str, ...] = ()
    examples: tuple[Example, ...]

    @property
    def title(self) -> str:
        """Its name for people."""
        return "all other scanners" if self.name is None else _title(self.name)


@dataclass(slots=True, kw_only=True)
class _Tally:
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(HISTOGRAM_BINS, np.int64))
    background: float = 0.0
    mean: float = 0.0
    without_view: int = 0
    annotated: int = 0
    contradictory: int = 0
    num_images: Counter[str] = field(default_factory=Counter)
    num_bright: Counter[str] = field(default_factory=Counter)
    examples: dict[tuple[Part, int], dict[str, bytes]] = field(default_factory=dict)


class Survey:
    """Examines the images of a data set, one after another."""

    def __init__(self, scanners: Iterable[str], images: Images) -> None:
        """Begin with each image's scanner and the plan's settings of images."""
        self._images = images
        self._tallies: dict[str | None, _Tally] = {name: _Tally() for name, _ in Counter(scanners).most_common(MAX_SCANNERS)}

    def add(self, image: NDArray[np.uint16], metadata: ImageMetadata, *, part: Part, label: int) -> None:
        """Examine one image, (size, size)."""
        tally = self._tallies.setdefault(metadata.scanner if metadata.scanner in self._tallies else None, _Tally())
        background = background_of(image)
        if self._images.crop is Crop.NONE:  # else the part's proportions are not known
            rows, columns = extent_of(metadata.rows, metadata.columns, self._images)
            background = background_of(image[:rows, :columns])
        tally.histogram += histogram_of(image)
        tally.background += background
        tally.mean += float(image.mean()) / SCALE
        tally.without_view += not metadata.view
        tally.annotated += metadata.annotated
        tally.contradictory += metadata.contradictory
        tally.num_images[metadata.scanner] += 1
        # With equalized intensities all bands have equally many pixels, so none is the background.
        if background > 0.5 and self._images.intensity is not Intensity.EQUALIZED:  # noqa: PLR2004 - the middle
            tally.num_bright[metadata.scanner] += 1
        examples = tally.examples.setdefault((part, label), {})
        if len(examples) < EXAMPLES and metadata.patient not in examples:
            examples[metadata.patient] = png_of(image)

    @property
    def histogram(self) -> NDArray[np.int64]:
        """Pixels of all images in equal bins of [0, 1]."""
        total = np.zeros(HISTOGRAM_BINS, np.int64)
        for tally in self._tallies.values():
            total += tally.histogram
        return total

    def views(self) -> tuple[ScannerView, ...]:
        """Return the result, the scanner with the most images first."""
        return tuple(_view(name, tally) for name, tally in self._tallies.items() if tally.num_images)


def histogram_of(image: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return the number of pixels in each of the equal bins of [0, 1]."""
    return np.bincount(image.ravel() // _LEVELS_PER_BIN, minlength=HISTOGRAM_BINS)


def background_of(image: NDArray[np.uint16]) -> float:
    """Return the middle of the band of [0, 1] that has the most pixels of an image without padding."""
    bands = histogram_of(image).reshape(BANDS, -1).sum(axis=1)
    return (int(bands.argmax()) + 0.5) / BANDS


def png_of(image: NDArray[np.uint16]) -> bytes:
    """Return an image of [0, 1] in fixed point as a small PNG of 8 bits."""
    import cv2  # noqa: PLC0415 - a check of headers does without its 15 MB

    side = min(EXAMPLE_SIDE, image.shape[0])
    small = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint16)
    success, content = cv2.imencode(".png", (small >> 8).astype(np.uint8))
    if not success:
        msg = "OpenCV wrote no PNG"
        raise RuntimeError(msg)
    return bytes(content)


def _title(scanner: str) -> str:
    return scanner or "scanner not stated"


def _view(name: str | None, tally: _Tally) -> ScannerView:
    images = tally.num_images.total()
    order = sorted(tally.examples, key=lambda group: (tuple(Part).index(group[0]), group[1]))
    return ScannerView(
        name=name,
        images=images,
        shares=tuple((tally.histogram / tally.histogram.sum()).tolist()),
        background=tally.background / images,
        mean=tally.mean / images,
        bright=tally.num_bright.total(),
        without_view=tally.without_view,
        annotated=tally.annotated,
        contradictory=tally.contradictory,
        warnings=tuple(
            f"{_title(scanner)}: the background of {bright} of {tally.num_images[scanner]} images is bright; are they inverted?"
            for scanner, bright in sorted(tally.num_bright.items())
            if bright > TOLERATED * tally.num_images[scanner]
        ),
        examples=tuple(
            Example(part=part, label=label, png=png) for part, label in order for png in tally.examples[part, label].values()
        ),
    )

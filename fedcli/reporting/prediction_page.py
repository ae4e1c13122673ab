"""The predictions as one HTML file for the person who made them: the images of the most uncertain cases, then all cases.

The page looks like the report and follows its rules: no script, nothing loaded from elsewhere. It names patients and shows their
images, so no command publishes it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.imaging.dataset.survey import png_of
from fedcli.reporting.templates import template_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from fedcli.reporting.case_predictions import CasePrediction, LeftOutImage, PredictionTable

SHOWN, IMAGES_SHOWN = 12, 8
"""The most cases with images on the page, and the most images of one."""
LISTED = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One image as the network sees it: a `data:` URL, and its side and view."""

    url: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionPage:
    """What the page shows.

    Attributes:
        table: The cases.
        model: The model in words.
        plan: The plan's name.
        unit: What a case is.
        created: When it was made, in UTC.
        left_out: Every file without a prediction.
        pixels: (N, size, size) uint16, the images.
        titles: Side and view of each image; none for prepared data.
        companion: Name of the file that says how the predictions were made.
    """

    table: PredictionTable
    model: str
    plan: str
    unit: str
    created: datetime
    left_out: tuple[LeftOutImage, ...]
    pixels: NDArray[np.uint16]
    titles: Sequence[str]
    companion: str

    def render(self) -> str:
        """Return the page."""
        shown = self.table.predicted[:SHOWN]
        return (
            template_environment(autoescape=True)
            .get_template("prediction.html.j2")
            .render(
                page=self,
                table=self.table,
                shown=[(item, self._pictures(item)) for item in shown],
                listed=self.left_out[:LISTED],
                images_shown=IMAGES_SHOWN,
            )
        )

    def _pictures(self, item: CasePrediction) -> tuple[Picture, ...]:
        return tuple(
            Picture(
                url=f"data:image/png;base64,{base64.b64encode(png_of(self.pixels[position])).decode()}",
                title=self.titles[position] if self.titles else "",
            )
            for position in item.images[:IMAGES_SHOWN]
        )

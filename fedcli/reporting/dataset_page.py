"""A prepared data set as one HTML file for its site only: Table 1, Fig. 1, 3 and 4 by scanner, and what was left out.

The page looks like the report and follows its rules: no script, nothing loaded from elsewhere. It shows images of patients, so no
command publishes it. It names no patients and no files.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.plan import Part
from fedcli.plan.settings import flat_settings
from fedcli.reporting.figures.distributions import class_shares_figure, intensities_figure
from fedcli.reporting.tables.cohorts import ClassShares, Intensities, shares_of
from fedcli.reporting.templates import template_environment

if TYPE_CHECKING:
    from fedcli.imaging.dataset.survey import ScannerView
    from fedcli.imaging.preparation import PreparationSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactSheet:
    """Examples of one scanner's images: rows of classes, columns of parts, as `data:` URLs.

    Attributes:
        scanner: The scanner.
        rows: For each class, the examples of each part.
    """

    scanner: ScannerView
    rows: tuple[tuple[tuple[str, ...], ...], ...]


def render(prepared: PreparationSummary) -> str:
    """Return the page."""
    sheets = tuple(_contact_sheet(scanner, len(prepared.preparation.classes)) for scanner in prepared.scanners)
    pictures = (
        class_shares_figure(_shares(prepared), title="Class distribution, as a fraction of the images", what="part"),
        intensities_figure(_intensities(prepared), title="Intensity distribution", what="scanner"),
    )
    return (
        template_environment(autoescape=True)
        .get_template("dataset.html.j2")
        .render(
            prepared=prepared,
            sheets=sheets,
            warnings=[warning for scanner in prepared.scanners for warning in scanner.warnings],
            settings=flat_settings(prepared.preparation),
            figures={picture.name: picture for picture in pictures},
        )
    )


def _contact_sheet(scanner: ScannerView, num_classes: int) -> ContactSheet:
    def cell(label: int, part: Part) -> tuple[str, ...]:
        return tuple(
            f"data:image/png;base64,{base64.b64encode(example.png).decode()}"
            for example in scanner.examples
            if (example.label, example.part) == (label, part)
        )

    rows = tuple(tuple(cell(label, part) for part in Part) for label in range(num_classes))
    return ContactSheet(scanner=scanner, rows=rows)


def _shares(prepared: PreparationSummary) -> tuple[ClassShares, ...]:
    classes, parts = prepared.preparation.classes, prepared.cohort.parts
    return (
        shares_of("all", classes, parts),
        *(shares_of(part.part.value, classes, [part]) for part in parts),
    )


def _intensities(prepared: PreparationSummary) -> tuple[Intensities, ...]:
    total = sum(prepared.cohort.histogram)
    whole = Intensities(site="all images", shares=tuple(share / total for share in prepared.cohort.histogram))
    return (whole, *(Intensities(site=scanner.title, shares=scanner.shares) for scanner in prepared.scanners))

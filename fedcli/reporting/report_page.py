"""The report as one HTML file: no script, nothing loaded from elsewhere, light and dark, for paper and for a phone.

Names and reasons come from peers: the template escapes whatever it is given, and the page forbids scripts and requests by its own
content security policy. Only the figures, which are our own SVG, go in as they are.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from fedcli.reporting import formats, tables
from fedcli.reporting.templates import template_environment
from fedcli.reporting.words import METRIC_WORDS

if TYPE_CHECKING:
    from fedcli.reporting.figures.illustration import Illustration
    from fedcli.reporting.report_data import Report


def render(report: Report, pictures: tuple[Illustration, ...]) -> str:
    """Return the page.

    Args:
        report: What it shows.
        pictures: The figures that could be drawn; the page says which are missing.
    """
    return (
        template_environment(autoescape=True)
        .get_template("page.html.j2")
        .render(
            report=report,
            style=files("fedcli.reporting").joinpath("page.css").read_text(encoding="utf-8"),
            absent=formats.ABSENT,
            metric_words={metric: METRIC_WORDS[metric] for metric in tables.metrics_of(report.plan)},
            figures={picture.name: picture for picture in pictures},
        )
    )

"""The report as one HTML file: no script, nothing loaded from elsewhere, light and dark, for paper and for a phone.

Names and reasons come from peers: the template escapes whatever it is given, and the page forbids scripts and requests by its own
content security policy. Only the figures, which are our own SVG, go in as they are.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from fedcli.reporting import formats, tables
from fedcli.reporting.tables.gaps import MODEL_WORDS
from fedcli.reporting.templates import environment

if TYPE_CHECKING:
    from fedcli.reporting.contents import Report
    from fedcli.reporting.figures.canvas import Illustration


def render(report: Report, pictures: tuple[Illustration, ...]) -> str:
    """Return the page.

    Args:
        report: What it shows.
        pictures: The figures that could be drawn; the page says where one is missing.
    """
    return (
        environment(autoescape=True)
        .get_template("page.html.j2")
        .render(
            report=report,
            style=files("fedcli.reporting").joinpath("page.css").read_text(encoding="utf-8"),
            absent=formats.ABSENT,
            metric_words={metric: tables.METRIC_WORDS[metric] for metric in tables.measured(report.plan)},
            model_words={kind.value: word for kind, word in MODEL_WORDS.items()},
            figures={picture.name: picture for picture in pictures},
        )
    )

"""The report as one HTML file: no script, nothing loaded from elsewhere, light and dark, for paper and for a phone.

Names and reasons come from peers: the template escapes whatever it is given, and the page forbids scripts and requests by its own
content security policy. Only the figures, which are our own SVG, go in as they are.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

from fedcli.reporting import formats
from fedcli.reporting.tables import agreement
from fedcli.reporting.tables.gaps import MODEL_WORDS

if TYPE_CHECKING:
    from fedcli.reporting.figures.canvas import Illustration
    from fedcli.reporting.report import Report
    from fedcli.reporting.tables import Cell


def render(report: Report, pictures: tuple[Illustration, ...]) -> str:
    """Return the page.

    Args:
        report: What it shows.
        pictures: The figures that could be drawn; the page says where one is missing.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        agreement=agreement,
        compact=formats.compact,
        count=formats.count,
        hours=formats.hours,
        interval=formats.interval,
        moment=formats.moment,
        names=formats.names,
        number=formats.number,
        percent=formats.percent,
        ranges=formats.ranges,
        size=formats.size,
        tooltip=tooltip,
    )
    folder = files("fedcli.reporting")
    template = environment.from_string(folder.joinpath("page.html.j2").read_text(encoding="utf-8"))
    style = folder.joinpath("page.css").read_text(encoding="utf-8")
    return template.render(
        report=report,
        style=style,
        absent=formats.ABSENT,
        model_words={kind.value: word for kind, word in MODEL_WORDS.items()},
        figures={picture.name: picture for picture in pictures},
    )


def tooltip(cell: Cell) -> str:
    """Return all that is known of a cell in one line."""
    where = f"{cell.trained_at} on {cell.tested_at}'s test patients"
    if not cell.scored:
        return f"{where}: not scored"
    cases = f"{formats.count(cell.patients)} patients"
    if cell.kappa is None:
        return f"{where}: kappa undefined, {cases}"
    interval = f", 95 % interval {formats.interval(cell.interval)}" if cell.interval else ""
    return f"{where}: kappa {formats.number(cell.kappa)} ({agreement(cell.kappa)}){interval}, {cases}"

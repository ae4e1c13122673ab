"""The report as files: `report.html`, `model-card.md`, `tables/*.csv`, `figures/*.svg` and `figures/*.png`.

The page is one HTML file: no script, nothing loaded from elsewhere, light and dark, for paper and for a phone. Names and reasons
come from peers: the template escapes whatever it is given, and the page forbids scripts and requests by its own content security
policy. Only the figures, which are our own SVG, go in as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.disk import write_whole
from fedcli.errors import UsageError
from fedcli.reporting import formats, model_card, tables
from fedcli.reporting.attempts import Attempts
from fedcli.reporting.csv_tables import csv_tables
from fedcli.reporting.figures import NAMES, illustrations
from fedcli.reporting.formats import METRIC_WORDS
from fedcli.reporting.report_data import gather
from fedcli.reporting.tables import BEST
from fedcli.reporting.templates import template_environment

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.history import History
    from fedcli.reporting.figures.illustration import Illustration
    from fedcli.reporting.report_data import Report

PAGE = "report.html"
CARD = "model-card.md"


def write_report(
    history: History, statement: str, out: Path, model: str = BEST, attempts: Attempts | None = None
) -> tuple[Path, ...]:
    """Write the report into a folder, replacing an older one.

    Each file is written whole or not at all. Figures of an older report that this one does not have are removed, and so is its
    card where there is no model yet.

    Args:
        history: The verified records of one federation.
        statement: What was verified, and against which key; shown at the top of the page.
        out: The folder; created where it is missing.
        model: Which model the card describes: `best`, `final`, `global`, `SITE` or `SITE/KIND`.
        attempts: Hears which tables and figures failed; the page names them, and has the others.

    Returns:
        The files that were written, the page first.

    Raises:
        MissingError: The history holds no federation record, or that model does not exist yet.
        UsageError: There can be no such model, or the folder cannot be written.
    """
    attempts = attempts or Attempts()
    report = gather(history, statement, model, attempts)
    pictures = illustrations(report, attempts)
    csv = csv_tables(report, attempts)
    files = [(out / PAGE, render(report, pictures, tuple(attempts.failures)).encode())]
    if report.chosen:
        files.append((out / CARD, model_card.render(report, report.chosen).encode()))
    files += [(out / "tables" / f"{table.name}.csv", table.text.encode()) for table in csv]
    for picture in pictures:
        files.append((out / "figures" / f"{picture.name}.svg", picture.svg.encode()))
        files.append((out / "figures" / f"{picture.name}.png", picture.png))
    outdated = [out / CARD] + [out / "figures" / f"{name}.{end}" for name in NAMES for end in ("svg", "png")]
    try:
        for path, data in files:
            write_whole(path, data)
        for path in {*outdated} - {path for path, _ in files}:
            path.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{out}: the report cannot be written: {error.strerror}"
        raise UsageError(msg, hint="choose a folder that you can write to with --out") from error
    return tuple(path for path, _ in files)


def render(report: Report, pictures: tuple[Illustration, ...], failures: tuple[str, ...] = ()) -> str:
    """Return the page.

    Args:
        report: What it shows.
        pictures: The figures that could be drawn; the page says which are missing.
        failures: The tables and figures that failed.
    """
    return (
        template_environment(autoescape=True)
        .get_template("page.html.j2")
        .render(
            report=report,
            failures=failures,
            absent=formats.ABSENT,
            metric_words={metric: METRIC_WORDS[metric] for metric in tables.metrics_of(report.plan)},
            figures={picture.name: picture for picture in pictures},
        )
    )

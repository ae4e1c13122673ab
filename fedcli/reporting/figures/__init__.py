"""The report's tables as pictures: SVG for the page, SVG and PNG as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.reporting.attempts import Attempts
from fedcli.reporting.figures.distributions import class_shares_figure, intensities_figure
from fedcli.reporting.figures.forest_plot import comparisons_figure
from fedcli.reporting.figures.kappas import cross_site_figure, own_scores_figure
from fedcli.reporting.figures.learning_curves import cosines_figure, kappa_curves_figure, loss_curves_figure, norms_figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fedcli.reporting.figures.illustration import Illustration
    from fedcli.reporting.report_data import Report

NAMES = ("table2-cross-site", "fig3-classes", "fig4-intensities", "fig5-kappa", "comparisons", "learning-kappa", "learning-loss",
         "update-norms", "update-cosines")  # fmt: skip


def illustrations(report: Report, attempts: Attempts | None = None) -> tuple[Illustration, ...]:
    """Draw every figure that has something to show, and can be drawn; their names are among `NAMES`."""
    attempts = attempts or Attempts()
    drawn = (attempts.make(f"figure {name}", draw, None) for name, draw in _figures(report))
    return tuple(picture for picture in drawn if picture is not None)


def _figures(report: Report) -> Iterator[tuple[str, Callable[[], Illustration]]]:
    """Yield every figure that has something to show: its name, and how to draw it."""
    curves, compared = report.curves, report.comparisons
    if any(table.scored for table in report.cross_site):
        yield "table2-cross-site", lambda: cross_site_figure(report.cross_site, report.global_rows)
    if report.shares:
        yield "fig3-classes", lambda: class_shares_figure(report.shares)
    if report.intensities:
        yield "fig4-intensities", lambda: intensities_figure(report.intensities)
    if any(cell.kappa is not None for site in report.own_scores for cell in site.cells):
        yield "fig5-kappa", lambda: own_scores_figure(report.own_scores)
    if any(item.result.difference is not None for item in compared):
        yield "comparisons", lambda: comparisons_figure(compared, report.pooled)
    if any(value is not None for curve in curves for value in curve.kappas):
        yield "learning-kappa", lambda: kappa_curves_figure(curves, report.global_curve)
    if any(value is not None for curve in curves for value in curve.losses):
        yield "learning-loss", lambda: loss_curves_figure(curves)
    if any(curve.points for curve in curves):
        yield "update-norms", lambda: norms_figure(curves)
    if any(point.cosine is not None for curve in curves for point in curve.points):
        yield "update-cosines", lambda: cosines_figure(curves)

"""The report's tables as pictures: SVG for the page, SVG and PNG as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.reporting.figures.distributions import class_shares_figure, intensities_figure
from fedcli.reporting.figures.forest_plot import comparisons_figure
from fedcli.reporting.figures.kappas import cross_site_figure, own_scores_figure
from fedcli.reporting.figures.learning_curves import cosines_figure, kappa_curves_figure, loss_curves_figure, norms_figure

if TYPE_CHECKING:
    from fedcli.reporting.figures.illustration import Illustration
    from fedcli.reporting.report_data import Report

NAMES = ("table2-cross-site", "fig3-classes", "fig4-intensities", "fig5-kappa", "comparisons", "learning-kappa", "learning-loss",
         "update-norms", "update-cosines")  # fmt: skip


def illustrations(report: Report) -> tuple[Illustration, ...]:
    """Draw every figure that has something to show; their names are among `NAMES`."""
    drawn = []
    if any(table.scored for table in report.cross_site):
        drawn.append(cross_site_figure(report.cross_site, report.global_rows))
    if report.shares:
        drawn.append(class_shares_figure(report.shares))
        drawn.append(intensities_figure(report.intensities))
    if any(cell.kappa is not None for site in report.own_scores for cell in site.cells):
        drawn.append(own_scores_figure(report.own_scores))
    if any(item.result.difference is not None for item in report.comparisons):
        drawn.append(comparisons_figure(report.comparisons))
    if any(value is not None for curve in report.curves for value in curve.kappas):
        drawn.append(kappa_curves_figure(report.curves, report.global_curve))
    if any(value is not None for curve in report.curves for value in curve.losses):
        drawn.append(loss_curves_figure(report.curves))
    if any(curve.points for curve in report.curves):
        drawn.append(norms_figure(report.curves))
    if any(point.cosine is not None for curve in report.curves for point in curve.points):
        drawn.append(cosines_figure(report.curves))
    return tuple(drawn)

"""The state of a federation as a page for a screen on the wall: static, and loaded again by the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.reporting import formats
from fedcli.reporting.figures.learning_curves import kappa_curves_figure
from fedcli.reporting.tables import GlobalPoint
from fedcli.reporting.templates import template_environment

if TYPE_CHECKING:
    from datetime import datetime

    from fedcli.operations.status.federation_state import StatusResult
    from fedcli.reporting.figures.illustration import Illustration

SECONDS = 60
"""After which the browser loads the page again."""
_MOST_PROBLEMS = 5


def wall_page(state: StatusResult, moment: datetime) -> str:
    """Return the page.

    Args:
        state: What it shows.
        moment: When that was read.
    """
    template = template_environment(autoescape=True).get_template("wall.html.j2")
    return template.render(
        state=state,
        moment=moment,
        curves=_curves(state),
        seconds=SECONDS,
        most=_MOST_PROBLEMS,
        absent=formats.ABSENT,
    )


def _curves(state: StatusResult) -> Illustration | None:
    if all(value is None for curve in state.curves for value in curve.kappas):
        return None
    points = tuple(GlobalPoint(round=item.round, kappa=item.kappa) for item in state.history if item.kappa is not None)
    return kappa_curves_figure(state.curves, points)

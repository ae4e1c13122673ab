"""A site's learning curves: its validation kappa and loss round by round, one line of blocks each."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.reporting.tables.learning import LearningCurve

WIDTH = 16
"""Characters of a line, so that a table of three fits into 80 columns."""
_BLOCKS = "▁▂▃▄▅▆▇█"
_NOTHING = "·"
_FEWEST = 2
"""Rounds that make a curve."""


def table(curves: Sequence[LearningCurve]) -> Table | None:
    """Return one row per site; None if no site has trained twice."""
    drawn = [curve for curve in curves if len(curve.points) >= _FEWEST]
    if not drawn:
        return None
    last = max(curve.points[-1].round for curve in drawn)
    title = f"Validation, rounds 1 to {last}: kappa from 0 to 1, loss from 0 to the site's largest"
    curves_table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in ("site", "kappa, received", "kappa, trained", "loss, trained"):
        curves_table.add_column(Text(column), overflow="fold")
    for curve in drawn:
        points = {point.round: point for point in curve.points}
        rounds = [points.get(number) for number in range(1, last + 1)]
        losses = [point.trained_loss if point else None for point in rounds]
        largest = max((loss for loss in losses if loss is not None), default=0.0)
        curves_table.add_row(
            Text(curve.site),
            line([point.received_kappa if point else None for point in rounds], 1.0),
            line([point.trained_kappa if point else None for point in rounds], 1.0),
            line(losses, largest),
        )
    return curves_table


def line(values: Sequence[float | None], highest: float, width: int = WIDTH) -> str:
    """Return values as blocks, the lowest for 0 and below, the full one for the highest; a dot for None.

    If there are more values than characters, a character is the mean of several values.
    """
    width = min(width, len(values))
    bounds = [round(number * len(values) / width) for number in range(width + 1)]
    shares = [[value for value in values[first:end] if value is not None] for first, end in pairwise(bounds)]
    return "".join(_block(statistics.fmean(share) / highest if highest else 0.0) if share else _NOTHING for share in shares)


def _block(part: float) -> str:
    return _BLOCKS[min(max(math.floor(part * len(_BLOCKS)), 0), len(_BLOCKS) - 1)]

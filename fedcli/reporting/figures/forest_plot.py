"""The paired comparisons as a forest plot: one panel per pair of models, one row per site, and a line at zero difference.

A last row has the difference pooled over the sites, as a diamond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedcli.reporting.figures.illustration import BLUE, INK, PAPER, Illustration, illustrate, label, tip
from fedcli.reporting.formats import ABSENT, capitalized, number
from fedcli.reporting.tables.comparisons import SIGNIFICANT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedcli.reporting.tables import PooledDifference, SiteComparison


_ALL = "all sites"


def comparisons_figure(compared: tuple[SiteComparison, ...], pooled: tuple[PooledDifference, ...] = ()) -> Illustration:
    """Draw every difference with its 95 % interval; filled points are significant after the correction for several sites."""
    summary = "; ".join(
        f"{item.site}, {item.pair}: {number(item.result.difference)}{', significant' if item.significant else ''}"
        for item in compared
    )
    summary = "; ".join([summary, *(f"{_ALL}, {item.pair}: {number(item.difference)}" for item in pooled)])
    return illustrate(
        "comparisons",
        "Differences in kappa between a site's own models on its own test patients",
        "One panel per pair of models, one point with its 95 % interval per site; right of zero, the first model is better. "
        f"{summary}.",
        lambda: _draw(compared, pooled),
    )


def _draw(compared: tuple[SiteComparison, ...], pooled: tuple[PooledDifference, ...]) -> Figure:
    sites = sorted({item.site for item in compared})
    rows = [label(site) for site in sites] + [_ALL] * bool(pooled)
    pairs = list(dict.fromkeys(item.pair for item in sorted(compared, key=lambda item: item.kind)))
    figure = Figure(figsize=(max(6.8, 3.6 * len(pairs)), 1.7 + 0.32 * len(rows)), layout="constrained")
    grid = figure.subplots(1, len(pairs), sharex=True, sharey=True, squeeze=False)
    for axes, pair in zip(grid.flat, pairs, strict=True):
        of_pair = {item.site: item for item in compared if item.pair == pair}
        axes.axvline(0, color=INK, linewidth=1)
        for row, site in enumerate(sites):
            _mark(axes, row, of_pair.get(site))
        for item in pooled:
            if item.pair == pair:
                _mark_pooled(axes, len(sites), item)
        axes.set_title(capitalized(pair))
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    grid[0, 0].set_yticks(range(len(rows)), rows)
    grid[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    figure.supxlabel("Difference in kappa", fontsize=10)
    adjusted = "adjusted p" if any(item.sites > 1 for item in compared) else "p"
    names = ((f"{adjusted} < {SIGNIFICANT}", BLUE), (f"{adjusted} ≥ {SIGNIFICANT}, or not tested", PAPER))
    figure.legend(handles=[_point([], [], fill, name) for name, fill in names], loc="outside upper center", ncols=2)
    return figure


def _mark(axes: Axes, row: int, item: SiteComparison | None) -> None:
    if item is None or item.result.difference is None:
        axes.annotate(ABSENT, (0.02, row), xycoords=("axes fraction", "data"), va="center")
        return
    drawn = [_point([item.result.difference], [row], BLUE if item.significant else PAPER)]
    if item.result.interval:
        drawn.insert(0, Line2D(item.result.interval, [row, row], color=BLUE, linewidth=2))
    for artist in drawn:
        tip(artist, f"{item.difference_sentence} {item.test_sentence}".strip())
        axes.add_line(artist)
    axes.autoscale_view(scaley=False)


def _mark_pooled(axes: Axes, row: int, item: PooledDifference) -> None:
    bounds = Line2D(item.interval, [row, row], color=INK, linewidth=2)
    mean = Line2D([item.difference], [row], linestyle="none", marker="D", markersize=8, color=INK)
    for artist in (bounds, mean):
        tip(artist, item.sentence)
        axes.add_line(artist)
    axes.autoscale_view(scaley=False)


def _point(x: list[float], y: list[float], fill: str, name: str = "") -> Line2D:
    return Line2D(x, y, linestyle="none", marker="o", markersize=7, markeredgecolor=BLUE, markerfacecolor=fill, label=name)

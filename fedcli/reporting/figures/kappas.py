"""The paper's Table 2 as heat maps, and its Fig. 5; in an SVG, hovering over a value shows its interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from fedcli.exchange.records import ModelKind
from fedcli.reporting.figures.illustration import BLUE, GREY, INK, ORANGE, Illustration, illustrate, label, name_sites, tip
from fedcli.reporting.formats import ABSENT, capitalized, number
from fedcli.reporting.tables.cross_site import MANY_SITES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedcli.reporting.tables import Cell, CrossSiteTable, GlobalRow, OwnScores

_COLOURS = {ModelKind.LOCAL: GREY, ModelKind.FEDERATED: BLUE, ModelKind.FINETUNED: ORANGE}
_DARK = 0.7
"""Above this kappa, a cell of the heat map is so dark that its number must be white."""


def cross_site_figure(halves: tuple[CrossSiteTable, ...], global_rows: tuple[GlobalRow, ...]) -> Illustration:
    """Draw Table 2: one heat map per kind of model that was scored, with the global models below the federated ones."""
    shown = [table for table in halves if table.scored]
    means = "; ".join(f"{table.kind.word}: {_means(table)}" for table in shown)
    return illustrate(
        "table2-cross-site",
        "Kappa of each site's model (rows) on each site's test patients (columns)",
        f"Heat maps of kappa. {means}.",
        lambda: _draw_heat_maps(shown, global_rows),
    )


def own_scores_figure(sites: tuple[OwnScores, ...]) -> Illustration:
    """Draw Fig. 5: three points per site, with 95 % intervals."""
    summary = "; ".join(f"{site.site}: " + ", ".join(number(cell.kappa) for cell in site.cells) for site in sites)
    return illustrate(
        "fig5-kappa",
        "Linear weighted kappa before and after federated learning, and after local fine-tuning",
        f"Three points per site for its own test patients, local-only, federated and fine-tuned, with 95 % intervals. {summary}.",
        lambda: _draw_own_scores(sites),
    )


def _draw_heat_maps(shown: list[CrossSiteTable], global_rows: tuple[GlobalRow, ...]) -> Figure:
    num = len(shown[0].sites)
    many = num >= MANY_SITES
    side = 7.0 if many else max(3.6, 1.6 + 0.52 * num)
    figure = Figure(figsize=(side * len(shown), side + 1.1), layout="constrained")
    for axes, table in zip(figure.subplots(1, len(shown), squeeze=False).flat, shown, strict=True):
        rows = [(label(site), row) for site, row in zip(table.sites, table.rows, strict=True)]
        if table.kind is ModelKind.FEDERATED:
            rows += [(f"Global {row.round}", row.cells) for row in global_rows if row.scored]
        (_coloured_map if many else _heat_map)(axes, table.kind, rows)
        axes.set_xlabel(f"Tested at\n{_means(table)}")
    return figure


def _coloured_map(axes: Axes, kind: ModelKind, rows: list[tuple[str, tuple[Cell, ...]]]) -> None:
    """Draw the kappas of many sites as one image; what is absent stays blank."""
    kappas = [[math.nan if cell.kappa is None else cell.kappa for cell in cells] for _, cells in rows]
    image = axes.imshow(kappas, cmap="Blues", norm=Normalize(0, 1, clip=True), interpolation="nearest", aspect="auto")
    colours = axes.figure.colorbar(image, ax=axes, shrink=0.6)
    colours.set_label("Kappa")
    every = -(-len(rows) // MANY_SITES)
    tested = [label(cell.tested_at) for cell in rows[0][1]]
    axes.set_xticks(range(0, len(tested), every), tested[::every], rotation=90, fontsize=7)
    axes.set_yticks(range(0, len(rows), every), [name for name, _ in rows][::every], fontsize=7)
    axes.set_ylabel("Trained at")
    axes.set_title(capitalized(kind.word))


def _means(table: CrossSiteTable) -> str:
    return f"diagonal mean {number(table.diagonal.value)}, off-diagonal mean {number(table.off_diagonal.value)}"


def _heat_map(axes: Axes, kind: ModelKind, rows: list[tuple[str, tuple[Cell, ...]]]) -> None:
    shades, scale = mpl.colormaps["Blues"], Normalize(0, 1, clip=True)
    for i, (_, cells) in enumerate(rows):
        for j, cell in enumerate(cells):
            light = cell.kappa is not None and cell.kappa > _DARK
            absent = "undef." if cell.absence == "undefined" else "with-\nheld"
            text = number(cell.kappa) if cell.kappa is not None or not cell.scored else absent
            # The text of a coloured cell does not follow the page's colour scheme: it is black, not INK.
            colour = INK if cell.kappa is None else ("white" if light else "black")
            weight = "bold" if cell.own else "normal"
            shade = "none" if cell.kappa is None else shades(scale(cell.kappa))
            square = axes.add_patch(Rectangle((j, i), 1, 1, facecolor=shade, edgecolor=INK, linewidth=0.4))
            written = axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", color=colour, fontsize=8.5, weight=weight)
            for artist in (square, written):
                tip(artist, cell.tooltip)
    tested = [label(cell.tested_at) for cell in rows[0][1]]
    turned = 0 if max(map(len, tested)) <= 3 else 45  # noqa: PLR2004 - longer names would run into one another
    axes.set_xticks(
        [j + 0.5 for j in range(len(tested))], tested, rotation=turned, ha="right" if turned else "center", rotation_mode="anchor"
    )
    axes.set_yticks([i + 0.5 for i in range(len(rows))], [name for name, _ in rows])
    axes.tick_params(length=0)
    axes.set_xlim(0, len(tested))
    axes.set_ylim(len(rows), 0)
    axes.set_aspect("equal")
    axes.set_anchor("N")
    axes.spines[:].set_visible(False)
    axes.set_ylabel("Trained at")
    axes.set_title(capitalized(kind.word))


def _draw_own_scores(sites: tuple[OwnScores, ...]) -> Figure:
    figure = Figure(figsize=(max(6.0, 1.1 * len(sites) + 1), 3.8), layout="constrained")
    axes = figure.subplots()
    for index, (kind, colour) in enumerate(_COLOURS.items()):
        for position, site in enumerate(sites):
            cell, place = site.cells[index], position + (index - 1) * 0.22
            if cell.kappa is None:
                axes.annotate(ABSENT, (place, 0.01), xycoords=("data", "axes fraction"), ha="center")
                continue
            drawn = [_point([place], [cell.kappa], colour)]
            if cell.interval:
                drawn.insert(0, Line2D([place, place], cell.interval, color=colour, linewidth=2))
            for artist in drawn:
                tip(artist, f"{capitalized(kind.word)}: {cell.tooltip}")
                axes.add_line(artist)
    axes.set_ylim(*_limits(sites))
    name_sites(axes, [site.site for site in sites])
    axes.set_ylabel("Linear weighted kappa")
    axes.grid(axis="y")
    # All three are named even if no site has them yet: a dash on the axis marks a missing one.
    handles = [_point([], [], colour, capitalized(kind.word)) for kind, colour in _COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _point(x: list[float], y: list[float], colour: str, name: str = "") -> Line2D:
    return Line2D(x, y, linestyle="none", marker="o", markersize=7, color=colour, label=name)


def _limits(sites: tuple[OwnScores, ...]) -> tuple[float, float]:
    """Return the ends of the axis: those of the data with intervals, widened to the next twentieth, as in the paper's figure."""
    cells = [cell for site in sites for cell in site.cells if cell.kappa is not None]
    lows = [cell.interval[0] if cell.interval else cell.kappa for cell in cells]
    highs = [cell.interval[1] if cell.interval else cell.kappa for cell in cells]
    lowest = min(low for low in lows if low is not None)
    highest = max(high for high in highs if high is not None)
    return math.floor(lowest * 20 - 0.5) / 20, math.ceil(highest * 20 + 0.5) / 20

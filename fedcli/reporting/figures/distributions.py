"""The paper's Fig. 3 and Fig. 4: class shares and intensities of each site's data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from fedcli.reporting.figures.illustration import BLUE, INK, Illustration, illustrate, label, name_sites, panels

if TYPE_CHECKING:
    from fedcli.reporting.tables import ClassShares, Intensities


def class_shares_figure(
    sites: tuple[ClassShares, ...],
    *,
    title: str = "Class distribution at the sites as a fraction of their data",
    what: str = "site",
) -> Illustration:
    """Draw Fig. 3: one group of bars per site or other group of images, one bar per class."""
    summary = "; ".join(
        f"{site.site}: "
        + ", ".join(
            f"{name} {'withheld' if share is None else f'{share:.0%}'}"
            for name, share in zip(site.classes, site.shares, strict=True)
        )
        for site in sites
    )
    return illustrate(
        "fig3-classes",
        title,
        f"Grouped bars, one group per {what}. {summary}.",
        lambda: _draw_shares(sites),
    )


def intensities_figure(
    sites: tuple[Intensities, ...], *, title: str = "Intensity distribution at the sites", what: str = "site"
) -> Illustration:
    """Draw Fig. 4: one panel per site or other group of images, all with the same axes."""
    return illustrate(
        "fig4-intensities",
        title,
        f"One histogram per {what}: the share of its pixels, on a logarithmic scale, at each intensity from 0 to 1. "
        + "; ".join(f"{site.site}: mean intensity {_mean_intensity(site):.2f}" for site in sites)
        + ".",
        lambda: _draw_intensities(sites),
    )


def _draw_shares(sites: tuple[ClassShares, ...]) -> Figure:
    classes = sites[0].classes
    figure = Figure(figsize=(max(6.0, 1.15 * len(sites) + 1), 3.6), layout="constrained")
    axes = figure.subplots()
    # The classes are ordered, so their colours are too: cividis can be read without telling red from green.
    shades = mpl.colormaps["cividis"]
    width = 0.8 / len(classes)
    for index, name in enumerate(classes):
        axes.bar(
            [position + (index - (len(classes) - 1) / 2) * width for position in range(len(sites))],
            [math.nan if (share := site.shares[index]) is None else share for site in sites],
            width=width * 0.94,
            color=shades(0.12 + 0.8 * index / (len(classes) - 1)),
            edgecolor=INK,
            linewidth=0.5,
            label=label(name),
        )
    name_sites(axes, [site.site for site in sites])
    axes.set_ylabel("Fraction of images")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    figure.legend(title="Class", loc="outside right upper")
    return figure


def _draw_intensities(sites: tuple[Intensities, ...]) -> Figure:
    figure, grid = panels(len(sites), width=2.3, height=1.7)
    for axes, site in zip(grid, sites, strict=True):
        bins = len(site.shares)
        axes.stairs(
            [share * 100 for share in site.shares],
            [edge / bins for edge in range(bins + 1)],
            fill=True,
            baseline=1e-3,
            color=BLUE,
        )
        axes.set_title(label(site.site))
        axes.grid(axis="y")
    # Background fills most of a mammogram: on a linear scale, the first bin would hide all others.
    grid[0].set_yscale("log")
    grid[0].set_ylim(1e-3, 100)
    grid[0].set_yticks([0.001, 0.01, 0.1, 1, 10, 100], ["0.001", "0.01", "0.1", "1", "10", "100"])
    grid[0].minorticks_off()
    grid[0].set_xlim(0, 1)
    grid[0].set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    figure.supxlabel("Intensity", fontsize=10)
    figure.supylabel("% of pixels", fontsize=10)
    return figure


def _mean_intensity(site: Intensities) -> float:
    bins = len(site.shares)
    return sum(share * (index + 0.5) / bins for index, share in enumerate(site.shares))

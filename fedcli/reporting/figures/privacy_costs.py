"""What private training costs: ε against the number of rounds, one line per noise, with the budget."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from fedcli.reporting.figures.illustration import INK, ORANGE, Illustration, illustrate, tip

if TYPE_CHECKING:
    from fedcli.privacy.accountant import PrivacyCost


def privacy_costs_figure(costs: tuple[PrivacyCost, ...], *, rounds: int, budget: float, delta: float) -> Illustration:
    """Draw the costs.

    Args:
        costs: For each noise in turn, one entry per number of rounds, both ascending.
        rounds: The planned number, marked by a vertical line.
        budget: ε, marked by a horizontal line.
        delta: δ.
    """
    planned = "; ".join(f"noise {cost.noise:.3f}: {cost.epsilon:.3g}" for cost in costs if cost.rounds == rounds)
    return illustrate(
        "privacy-costs",
        f"Epsilon at delta {delta:g} after so many rounds",
        f"One line per noise, and a horizontal line at the budget of {budget:g}. Epsilon after {rounds} rounds: {planned}.",
        lambda: _draw(costs, rounds, budget),
    )


def _draw(costs: tuple[PrivacyCost, ...], rounds: int, budget: float) -> Figure:
    figure = Figure(figsize=(6.8, 3.8), layout="constrained")
    axes = figure.subplots()
    lines = [(noise, list(group)) for noise, group in groupby(costs, key=lambda cost: cost.noise)]
    shades = mpl.colormaps["cividis"]
    for index, (noise, points) in enumerate(lines):
        (line,) = axes.plot(
            [0, *(point.rounds for point in points)],
            [0, *(point.epsilon for point in points)],
            marker="o",
            markersize=4,
            color=shades(0.1 + 0.75 * index / max(1, len(lines) - 1)),
            label=f"{noise:.3f}",
        )
        tip(line, f"noise {noise:.3f}")
    axes.axhline(budget, color=ORANGE, linestyle="--", label="budget")
    axes.axvline(rounds, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlim(left=0)
    # The weakest noise would make the others a line on the floor.
    axes.set_ylim(0, 3 * budget)
    axes.set_xlabel("Rounds")
    axes.set_ylabel("ε")
    axes.grid(axis="y")
    figure.legend(title="Noise σ", loc="outside right upper")
    return figure

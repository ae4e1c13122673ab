"""Learning curves: one panel for each site, all with the same axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from fedcli.reporting.figures.canvas import BLUE, GREY, INK, ORANGE, Illustration, illustrate, label, panels
from fedcli.reporting.formats import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fedcli.reporting.tables import GlobalPoint, LearningCurve

Point = tuple[int, float | None]

_FEW = 12
"""Up to so many rounds each is marked with a dot: a line through one point cannot be seen."""


def kappa_curves_figure(curves: tuple[LearningCurve, ...], global_curve: tuple[GlobalPoint, ...]) -> Illustration:
    """Draw validation kappa by the round that made the model: received φ(t-1) at t-1, trained at t."""
    best = max(global_curve, key=lambda point: (point.kappa, -point.round), default=None)
    summary = "; ".join(f"{curve.site}: {_last_kappas(curve)}" for curve in curves)
    return illustrate(
        "learning-kappa",
        "Validation kappa of the global model and of each site's own, round by round",
        f"One panel for each site. Last values, global and own: {summary}."
        + (f" The global model is best on average in round {best.round}, at {number(best.kappa)}." if best else ""),
        lambda: _draw_kappas(curves, global_curve),
    )


def loss_curves_figure(curves: tuple[LearningCurve, ...]) -> Illustration:
    """Draw validation loss likewise, and the training loss."""
    summary = "; ".join(f"{curve.site}: {number(curve.points[-1].training_loss)}" for curve in curves if curve.points)
    return illustrate(
        "learning-loss",
        "Validation loss of the global model and of each site's own, and training loss, round by round",
        f"One panel for each site. Last training loss: {summary}.",
        lambda: _draw_losses(curves),
    )


def _draw_kappas(curves: tuple[LearningCurve, ...], global_curve: tuple[GlobalPoint, ...]) -> Figure:
    figure, grid = panels(len(curves), width=2.4, height=1.8)
    mean: list[Point] = [(point.round, point.kappa) for point in global_curve]
    for axes, curve in zip(grid, curves, strict=True):
        received = [(point.round - 1, point.received_kappa) for point in curve.points]
        if curve.last and curve.last_round is not None:
            received.append((curve.last_round, curve.last.kappa))
        _line(axes, mean, GREY, "Global model, all sites", "--")
        _line(axes, received, BLUE, "Global model, here", "-")
        _line(axes, [(point.round, point.trained_kappa) for point in curve.points], ORANGE, "After training here", "-")
        axes.set_title(label(curve.site))
    _finish(figure, grid, "Validation kappa")
    return figure


def _draw_losses(curves: tuple[LearningCurve, ...]) -> Figure:
    figure, grid = panels(len(curves), width=2.4, height=1.8)
    for axes, curve in zip(grid, curves, strict=True):
        received = [(point.round - 1, point.received_loss) for point in curve.points]
        if curve.last and curve.last_round is not None:
            received.append((curve.last_round, curve.last.loss))
        _line(axes, received, BLUE, "Validation, global model", "-")
        _line(axes, [(point.round, point.trained_loss) for point in curve.points], ORANGE, "Validation, after training here", "-")
        training: list[Point] = [(point.round, point.training_loss) for point in curve.points]
        _line(axes, training, INK, "Training", ":")
        axes.set_title(label(curve.site))
    grid[0].set_ylim(bottom=0)
    _finish(figure, grid, "Cross-entropy")
    return figure


def _line(axes: Axes, points: list[Point], colour: str, name: str, style: str) -> None:
    present = sorted((number, value) for number, value in points if value is not None)
    axes.plot(
        [number for number, _ in present],
        [value for _, value in present],
        color=colour,
        linestyle=style,
        linewidth=1.4,
        marker="o" if len(present) <= _FEW else None,
        markersize=3,
        label=name,
    )


def _finish(figure: Figure, grid: list[Axes], ylabel: str) -> None:
    for axes in grid:
        axes.grid()
    grid[0].xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    figure.supxlabel("Round", fontsize=10)
    figure.supylabel(ylabel, fontsize=10)
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3)


def _last_kappas(curve: LearningCurve) -> str:
    if not curve.points:
        return number(curve.last.kappa) if curve.last else "none"
    received = curve.last.kappa if curve.last else curve.points[-1].received_kappa
    return f"{number(received)}, {number(curve.points[-1].trained_kappa)}"

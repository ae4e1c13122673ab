"""Learning curves, and the norm and direction of each site's updates: one panel per site, all with the same axes."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from fedcli.reporting.figures.illustration import BLUE, GREY, INK, ORANGE, Illustration, illustrate, label, panels
from fedcli.reporting.formats import number
from fedcli.reporting.tables.cross_site import mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fedcli.reporting.tables import GlobalPoint, LearningCurve

Point = tuple[int, float | None]

_FAR = 20
"""So many times the median are drawn; a line that goes on is cut off."""
_FEW = 12
"""Up to this many rounds, each is marked with a dot: a line through one point cannot be seen."""


def kappa_curves_figure(curves: tuple[LearningCurve, ...], global_curve: tuple[GlobalPoint, ...]) -> Illustration:
    """Draw validation kappa by the round that produced the model: the received φ(t-1) at t-1, the trained model at t."""
    best = max(global_curve, key=lambda point: (point.kappa, -point.round), default=None)
    summary = "; ".join(f"{curve.site}: {_last_kappas(curve)}" for curve in curves)
    return illustrate(
        "learning-kappa",
        "Validation kappa of the global model and of each site's trained model, round by round",
        f"One panel per site. Last values, global and trained: {summary}."
        + (f" On average, the global model is best in round {best.round}, at {number(best.kappa)}." if best else ""),
        lambda: _draw_kappas(curves, global_curve),
    )


def loss_curves_figure(curves: tuple[LearningCurve, ...]) -> Illustration:
    """Draw validation loss by the round that produced the model, and the training loss."""
    summary = "; ".join(f"{curve.site}: {number(curve.points[-1].training_loss)}" for curve in curves if curve.points)
    return illustrate(
        "learning-loss",
        "Validation loss of the global model and of each site's trained model, and training loss, round by round",
        f"One panel per site. Last training loss: {summary}.",
        lambda: _draw_losses(curves),
    )


def norms_figure(curves: tuple[LearningCurve, ...]) -> Illustration:
    """Draw the norm of every update."""
    norms: dict[str, list[Point]] = {curve.site: [(point.round, point.norm) for point in curve.points] for curve in curves}
    means = "; ".join(f"{site}: {number(mean(value for _, value in points).value, 3)}" for site, points in norms.items())
    return illustrate(
        "update-norms",
        "Euclidean norm of each site's updates, round by round",
        f"One panel per site. Means: {means}.",
        lambda: _draw_updates(norms, "Norm", (0, _top([value for points in norms.values() for _, value in points]))),
    )


def cosines_figure(curves: tuple[LearningCurve, ...]) -> Illustration:
    """Draw the cosine between every update that was used and the combined step."""
    cosines: dict[str, list[Point]] = {curve.site: [(point.round, point.cosine) for point in curve.points] for curve in curves}
    means = "; ".join(f"{site}: {number(mean(value for _, value in points).value)}" for site, points in cosines.items())
    lowest = min([0.0, *(value for points in cosines.values() for _, value in points if value is not None)])
    return illustrate(
        "update-cosines",
        "Cosine between each site's update and the combined step of all updates, round by round",
        f"One panel per site; 1 is the same direction, 0 a right angle, below 0 the opposite direction. Means: {means}.",
        lambda: _draw_updates(cosines, "Cosine", (lowest - 0.05, 1.05)),
    )


def _draw_updates(values: dict[str, list[Point]], ylabel: str, limits: tuple[float, float | None]) -> Figure:
    figure, grid = panels(len(values), width=2.4, height=1.6)
    for axes, (site, points) in zip(grid, values.items(), strict=True):
        axes.axhline(0, color=INK, linewidth=0.8)
        _line(axes, points, BLUE, "", "-")
        axes.set_title(label(site))
    grid[0].set_ylim(*limits)
    _finish(figure, grid, ylabel)
    return figure


def _draw_kappas(curves: tuple[LearningCurve, ...], global_curve: tuple[GlobalPoint, ...]) -> Figure:
    figure, grid = panels(len(curves), width=2.4, height=1.8)
    mean: list[Point] = [(point.round, point.kappa) for point in global_curve]
    for axes, curve in zip(grid, curves, strict=True):
        received = [(point.round - 1, point.received_kappa) for point in curve.points]
        if curve.last and curve.last_round is not None:
            received.append((curve.last_round, curve.last.kappa))
        _line(axes, mean, GREY, "Global model, all sites", "--")
        _line(axes, received, BLUE, "Global model, this site", "-")
        _line(axes, [(point.round, point.trained_kappa) for point in curve.points], ORANGE, "Trained model, this site", "-")
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
        _line(axes, [(point.round, point.trained_loss) for point in curve.points], ORANGE, "Validation, trained model", "-")
        training: list[Point] = [(point.round, point.training_loss) for point in curve.points]
        _line(axes, training, INK, "Training", ":")
        axes.set_title(label(curve.site))
    grid[0].set_ylim(0, _top([loss for curve in curves for loss in curve.losses]))
    _finish(figure, grid, "Cross-entropy")
    return figure


def _top(values: list[float | None]) -> float | None:
    """Return the end of the axes for values from 0 up: one site's values of another order must not flatten all other lines."""
    known = [value for value in values if value is not None]
    return min(1.05 * max(known), _FAR * median(known)) or None if known else None


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
    if handles:
        figure.legend(handles, names, loc="outside upper center", ncols=3)


def _last_kappas(curve: LearningCurve) -> str:
    if not curve.points:
        return number(curve.last.kappa) if curve.last else "none"
    received = curve.last.kappa if curve.last else curve.points[-1].received_kappa
    return f"{number(received)}, {number(curve.points[-1].trained_kappa)}"

"""How much is published about a part, how figures are rounded, and what readers say in place of a withheld one."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from fedcli.measures import Metric

if TYPE_CHECKING:
    from fedcli.measures import Measures

FEW, SOME = 10, 50
"""Below these numbers of patients, little and less is published."""


class Level(IntEnum):
    """What is published about the classes and scores of a part."""

    NOTHING = 0
    KAPPAS = 1
    ROUNDED = 2
    ALL = 3


def least_patients(level: Level, min_cell: int) -> int:
    """Return how many patients a part must have for a level."""
    return {Level.KAPPAS: max(FEW, 2 * min_cell), Level.ROUNDED: max(SOME, 10 * min_cell)}.get(level, 0)


def level_of(patients: int, min_cell: int) -> Level:
    """Return what is published about a part with this many patients."""
    if not min_cell:
        return Level.ALL
    if patients < least_patients(Level.KAPPAS, min_cell):
        return Level.NOTHING
    return Level.KAPPAS if patients < least_patients(Level.ROUNDED, min_cell) else Level.ROUNDED


def published_kappa(kappa: float | None, level: Level) -> float | None:
    """Return a kappa as it is published; models and rounds are chosen by it.

    A rounded one is never below 0, and 0 where it is undefined: few matrices have a kappa near -1, or none.
    """
    if level in {Level.ALL, Level.NOTHING}:
        return kappa if level is Level.ALL else None
    return max(0.0, round(kappa or 0.0, 1 if level is Level.KAPPAS else 2))


def published_figure(figure: float | None, level: Level) -> float | None:
    """Return a loss, a difference or another figure as it is published."""
    if figure is None or level is Level.ALL:
        return figure
    return round(figure, 2) if level is Level.ROUNDED else None


def absence(measures: Measures, metric: Metric, min_cell: int = 0) -> str:
    """Return the words for a figure that a record does not state: withheld, or undefined.

    Accuracy is always defined, so where it is missing, what is missing beside it is withheld.
    """
    if not measures.count or measures.accuracy.value is not None:
        return "undefined"
    least = least_patients(Level.KAPPAS if metric is Metric.KAPPA else Level.ROUNDED, min_cell)
    return f"withheld (n < {least})" if measures.count < least else "withheld"

"""Intervals by resampling patients, and a test whether two models differ; the same seed gives the same figures.

A resample draws as many units (patients or studies) as there are, with replacement, and takes all images of each (the cluster
bootstrap of Field & Welsh 2007). An interval is from the 2.5th to the 97.5th percentile. Resamples in which a metric is undefined
do not count; if they are more than half, or if the metric itself is undefined, there is no interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedcli.learning.evaluation import metrics
from fedcli.measures import Estimate, Measures, Metric, PairedDifference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fedcli.learning.evaluation.metrics import Predictions

_PERCENTILES = (2.5, 97.5)
_BLOCK = 1 << 18
"""Weights at a time: 2 MiB of float64, which fit into a processor's cache."""


def measure(predictions: Predictions, units: NDArray[np.int64], *, resamples: int, seed: int) -> Measures:
    """Return every metric with its interval, and the confusion matrix.

    Args:
        predictions: For N cases or images.
        units: (N,), the unit of each, from 0 to U - 1; the resamples draw units.
        resamples: Number of resamples.
        seed: Of the draws.
    """
    values = metrics.estimates(predictions)
    drawn: dict[Metric, list[NDArray[np.float64]]] = {metric: [] for metric in Metric}
    if len(units):
        for weights in draws(int(units.max()) + 1, resamples, seed):
            for metric, column in metrics.resampled(predictions, weights[:, units]).items():
                drawn[metric].append(column)
    estimates = {
        metric.value: Estimate(value=value, interval=_interval(drawn[metric]) if value is not None else None)
        for metric, value in values.items()
    }
    return Measures(count=len(units), confusion=tuple(map(tuple, predictions.confusion.tolist())), **estimates)


def compare(first: Predictions, second: Predictions, *, resamples: int, permutations: int, seed: int) -> PairedDifference:
    """Return the first model's linear weighted kappa minus the second's, with its interval and a permutation test's p-value.

    Each permutation exchanges the two models' predictions for every case with probability one half. p is the share of differences
    that are at least as large as the observed one, which is counted too (Phipson & Smyth 2010, equation 2).

    Args:
        first: Predictions for U cases.
        second: Another model's predictions for the same cases.
        resamples: Bootstrap resamples of cases.
        permutations: Random exchanges.
        seed: Of the resamples and the exchanges.
    """
    cases = len(first.truth)
    kappas = [metrics.estimates(predictions)[Metric.KAPPA] for predictions in (first, second)]
    if kappas[0] is None or kappas[1] is None:
        return PairedDifference(cases=cases, difference=None, interval=None, p_value=None, permutations=0)
    difference = kappas[0] - kappas[1]
    cells = [metrics.cells(predictions) for predictions in (first, second)]
    drawn = [_differences(weights @ cells[0], weights @ cells[1]) for weights in draws(cases, resamples, seed)]
    exchanged = np.concatenate([_exchanged(cells[0], cells[1], kept) for kept in _coins(cases, permutations, seed)])
    exchanged = exchanged[~np.isnan(exchanged)]
    extreme = int((np.abs(exchanged) >= abs(difference) - 1e-12).sum())
    return PairedDifference(
        cases=cases,
        difference=difference,
        interval=_interval(drawn),
        p_value=(extreme + 1) / (len(exchanged) + 1),
        permutations=len(exchanged),
    )


def draws(num_units: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each unit is drawn, (R, num_units) in blocks of resamples."""
    generator = np.random.default_rng(seed)
    for rows in _blocks(num_units, resamples):
        drawn = generator.integers(0, num_units, (rows, num_units), dtype=np.int32)
        drawn += num_units * np.arange(rows, dtype=np.int32)[:, np.newaxis]
        yield np.bincount(drawn.ravel(), minlength=rows * num_units).reshape(rows, num_units).astype(np.float64)


def _coins(num_units: int, permutations: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield 0 or 1 for each unit, (R, num_units) in blocks of permutations."""
    generator = np.random.default_rng([seed, 1])
    for rows in _blocks(num_units, permutations):
        yield generator.integers(0, 2, (rows, num_units), dtype=np.int8).astype(np.float64)


def _blocks(num_units: int, repeats: int) -> Iterator[int]:
    rows = max(_BLOCK // num_units, 1)
    for begin in range(0, repeats, rows):
        yield min(rows, repeats - begin)


def _exchanged(first: NDArray[np.float64], second: NDArray[np.float64], kept: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the differences after each case's two predictions are kept (1) or exchanged (0), (R,)."""
    ours = kept @ (first - second) + second.sum(axis=0)
    return _differences(ours, first.sum(axis=0) + second.sum(axis=0) - ours)


def _differences(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the differences of the kappas of two models' confusion matrices, each (R, C²); NaN where one is undefined."""
    return metrics.kappas(first) - metrics.kappas(second)


def _interval(blocks: list[NDArray[np.float64]]) -> tuple[float, float] | None:
    values = np.concatenate(blocks)
    defined = values[~np.isnan(values)]
    if not len(defined) or 2 * len(defined) < len(values):
        return None
    low, high = np.percentile(defined, _PERCENTILES)
    return float(low), float(high)

"""Intervals against a plain bootstrap, and the permutation test against all permutations."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from fedcli.learning.evaluation.bootstrap import compare, draws, measure
from fedcli.learning.evaluation.metrics import Predictions, kappa
from fedcli.measures import Metric
from tests.fixtures.scikit_learn_metrics import cases, reference


def units_of(predictions: Predictions, generator: np.random.Generator) -> np.ndarray:
    """Return which of U patients each image is of, every patient having some."""
    size = len(predictions.truth)
    num_units = int(generator.integers(1, size + 1))
    return np.concatenate([np.arange(num_units), generator.integers(0, num_units, size - num_units)])


def repeated(predictions: Predictions, units: np.ndarray, draw: np.ndarray) -> Predictions:
    """Return the images of the drawn patients, each as often as its patient was drawn."""
    positions = np.concatenate([np.flatnonzero(units == unit) for unit in draw])
    return Predictions(
        truth=predictions.truth[positions], probabilities=predictions.probabilities[positions], dense=predictions.dense
    )


def test_intervals_are_a_plain_bootstraps_over_the_same_resamples() -> None:
    generator = np.random.default_rng(3)
    for number, predictions in enumerate(cases()):
        units = units_of(predictions, generator) if number % 2 else np.arange(len(predictions.truth))
        (counts,) = draws(int(units.max()) + 1, 10, seed=4)
        drawn = [repeated(predictions, units, np.repeat(np.arange(len(row)), row.astype(int))) for row in counts]
        result = measure(predictions, units, resamples=10, seed=4)
        plain: dict[Metric, list[float | None]] = {Metric.KAPPA: [kappa_of(item) for item in drawn]}
        if number < 40:  # the others take scikit-learn longer
            every = [reference(item) for item in drawn]
            plain = {metric: [item[metric] for item in every] for metric in Metric}
        for metric, values in plain.items():
            defined = [value for value in values if value is not None]
            estimate = result.estimate(metric)
            if estimate.value is None:
                assert reference(predictions)[metric] is None
                assert estimate.interval is None
            elif len(defined) < 5:
                assert estimate.interval is None
            else:
                assert estimate.interval == pytest.approx(tuple(np.percentile(defined, [2.5, 97.5])), abs=1e-9)


def kappa_of(predictions: Predictions) -> float | None:
    """Return scikit-learn's linear weighted kappa, None where it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = cohen_kappa_score(
            predictions.truth, predictions.predicted, labels=range(predictions.num_classes), weights="linear"
        )
    return None if np.isnan(value) else float(value)


def test_units_are_drawn_with_replacement_and_as_many_as_there_are() -> None:
    counts = np.concatenate(list(draws(50, 30_000, seed=2)))
    assert counts.shape == (30_000, 50)
    assert (counts.sum(axis=1) == 50).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(50), abs=0.04)
    assert counts.var(axis=0) == pytest.approx(np.full(50, 1 - 1 / 50), abs=0.05)  # of a multinomial draw


def test_images_of_one_patient_are_drawn_together() -> None:
    """Four identical images of each patient say no more than one: the interval must not shrink."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, 60)
    probabilities = np.eye(4)[np.clip(truth + generator.integers(-1, 2, 60), 0, 3)]
    cases_alone = Predictions(truth=truth, probabilities=probabilities, dense=(2, 3))
    images = Predictions(truth=np.repeat(truth, 4), probabilities=np.repeat(probabilities, 4, axis=0), dense=(2, 3))
    alone = measure(cases_alone, np.arange(60), resamples=400, seed=1)
    together = measure(images, np.repeat(np.arange(60), 4), resamples=400, seed=1)
    apart = measure(images, np.arange(240), resamples=400, seed=1)
    assert together.kappa == alone.kappa
    assert apart.kappa.interval is not None
    assert alone.kappa.interval is not None
    assert np.ptp(apart.kappa.interval) < 0.7 * np.ptp(alone.kappa.interval)


def test_figures_depend_only_on_the_seed() -> None:
    predictions = cases()[8]
    first, again, other = (
        measure(predictions, np.arange(len(predictions.truth)), resamples=200, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.accuracy.interval != other.accuracy.interval or first.kappa.interval != other.kappa.interval


def test_no_interval_where_fewer_than_half_of_the_resamples_define_a_kappa() -> None:
    pair = Predictions(truth=np.array([0, 1]), probabilities=np.eye(2), dense=(1,))
    outcomes = set()
    for seed in range(10):
        counts = np.concatenate(list(draws(2, 101, seed)))
        expected = (1.0, 1.0) if (counts.max(axis=1) == 1).sum() > 50 else None
        assert measure(pair, np.arange(2), resamples=101, seed=seed).kappa.interval == expected
        outcomes.add(expected)
    assert len(outcomes) == 2


def test_without_images_everything_is_null() -> None:
    empty = Predictions(truth=np.array([], dtype=np.int64), probabilities=np.zeros((0, 4)), dense=(2, 3))
    result = measure(empty, np.array([], dtype=np.int64), resamples=100, seed=0)
    assert result.count == 0
    assert all(result.estimate(metric).value is None for metric in Metric)


def pair_of(seed: int, size: int, better: float) -> tuple[Predictions, Predictions]:
    """Return two models' predictions of the same cases, the first right in more of them."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, size)
    predictions = []
    for right in (better, 0.4):
        predicted = np.where(generator.random(size) < right, truth, generator.integers(0, 3, size))
        predictions.append(Predictions(truth=truth, probabilities=np.eye(3)[predicted], dense=(2,)))
    return predictions[0], predictions[1]


def test_the_difference_and_its_interval_are_a_plain_paired_bootstraps() -> None:
    for seed in range(20):
        first, second = pair_of(seed, 40, 0.7)
        result = compare(first, second, resamples=50, permutations=100, seed=seed)
        plain = []
        for row in np.concatenate(list(draws(40, 50, seed))).astype(int):
            drawn = np.repeat(np.arange(40), row)
            ours, theirs = (kappa(predictions.truth[drawn], predictions.predicted[drawn], 3) for predictions in (first, second))
            assert ours is not None
            assert theirs is not None
            plain.append(ours - theirs)
        whole = [kappa(predictions.truth, predictions.predicted, 3) for predictions in (first, second)]
        assert result.difference == pytest.approx(whole[0] - whole[1], abs=1e-12)
        assert result.interval == pytest.approx(tuple(np.percentile(plain, [2.5, 97.5])), abs=1e-12)


def test_the_p_value_is_that_of_all_permutations() -> None:
    for seed in range(4):
        first, second = pair_of(seed, 8, 0.8)
        observed = kappa(first.truth, first.predicted, 3) - kappa(second.truth, second.predicted, 3)
        differences = []
        for kept in product((True, False), repeat=8):
            ours = np.where(kept, first.predicted, second.predicted)
            theirs = np.where(kept, second.predicted, first.predicted)
            differences.append(kappa(first.truth, ours, 3) - kappa(first.truth, theirs, 3))
        exact = np.mean(np.abs(differences) >= abs(observed) - 1e-12)
        result = compare(first, second, resamples=10, permutations=20_000, seed=seed)
        assert result.p_value == pytest.approx(exact, abs=0.015)


def test_equal_models_do_not_differ_and_a_better_one_does() -> None:
    first, second = pair_of(0, 300, 0.9)
    same = compare(first, first, resamples=100, permutations=500, seed=0)
    assert (same.difference, same.interval, same.p_value) == (0.0, (0.0, 0.0), 1.0)
    better = compare(first, second, resamples=100, permutations=500, seed=0)
    assert better.p_value == 1 / 501
    assert better.interval is not None
    assert better.interval[0] > 0
    reverse = compare(second, first, resamples=100, permutations=500, seed=0)
    assert reverse.difference == -better.difference


def test_under_the_null_p_is_uniform() -> None:
    p_values = []
    for seed in range(200):
        first, second = pair_of(1000 + seed, 30, 0.4)
        p_values.append(compare(first, second, resamples=10, permutations=200, seed=seed).p_value)
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.1
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.07)


def test_an_undefined_kappa_leaves_nothing_to_compare() -> None:
    constant = Predictions(truth=np.zeros(5, dtype=np.int64), probabilities=np.eye(2)[[0] * 5], dense=(1,))
    result = compare(constant, constant, resamples=100, permutations=100, seed=0)
    assert (result.difference, result.interval, result.p_value, result.permutations) == (None, None, None, 0)

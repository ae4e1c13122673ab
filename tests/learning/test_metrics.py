"""Kappa and its interval against scikit-learn and a plain bootstrap."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, log_loss
from sklearn.metrics import confusion_matrix as reference_confusion

from fedcli.errors import DataError
from fedcli.learning.metrics import (
    confusion_matrix,
    cross_entropy,
    kappa_interval,
    linear_weighted_kappa,
    resampled_confusions,
    score,
)


def reference(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kappa = cohen_kappa_score(truth, predicted, weights="linear", labels=range(num_classes))
    return None if np.isnan(kappa) else float(kappa)


def cases() -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Return 200 random cases, with categories missing on either side, constant predictions and constant truth among them."""
    generator = np.random.default_rng(12)
    result = []
    for number in range(200):
        num_classes, size = int(generator.integers(2, 7)), int(generator.integers(1, 60))
        truth = generator.choice(generator.permutation(num_classes)[: generator.integers(1, num_classes + 1)], size)
        predicted = np.clip(truth + generator.integers(-1, 2, size), 0, num_classes - 1)
        if number % 4 == 1:
            predicted = np.full(size, generator.integers(num_classes))
        if number % 10 == 2:
            predicted = truth.copy()
        if number % 10 == 3:
            truth = np.full(size, predicted[0])
        result.append((truth, predicted, num_classes))
    return result


def test_kappa_is_scikit_learns_and_none_where_undefined() -> None:
    undefined = 0
    for truth, predicted, num_classes in cases():
        expected = reference(truth, predicted, num_classes)
        kappa = linear_weighted_kappa(truth, predicted, num_classes)
        undefined += expected is None
        assert kappa == (None if expected is None else pytest.approx(expected, abs=1e-12))
        assert np.array_equal(
            confusion_matrix(truth, predicted, num_classes), reference_confusion(truth, predicted, labels=range(num_classes))
        )
    assert 5 < undefined < 100


def test_kappa_by_hand() -> None:
    truth, predicted = np.array([0, 1, 2, 3]), np.array([0, 1, 3, 3])
    # Σ wO = 1 (2 → 3); Σ wE = Σ |i - j| r_i c_j / 4 = (0+1+3+3 + 1+0+2+2 + 2+1+1+1 + 3+2+0+0) / 4 = 22 / 4
    assert linear_weighted_kappa(truth, predicted, 4) == pytest.approx(1 - 4 / 22)


def test_kappa_of_nothing_is_none() -> None:
    empty = np.array([], dtype=np.int64)
    assert linear_weighted_kappa(empty, empty, 4) is None
    assert kappa_interval(empty, empty, 4, resamples=100, seed=0) is None


def test_interval_is_a_plain_bootstraps_over_the_same_resamples() -> None:
    for truth, predicted, num_classes in cases()[:25]:
        kappas = []
        for cells in resampled_confusions(confusion_matrix(truth, predicted, num_classes), 100, seed=4):
            assert cells.sum() == len(truth)
            rows, columns = np.indices(cells.shape)
            kappas.append(
                reference(np.repeat(rows.ravel(), cells.ravel()), np.repeat(columns.ravel(), cells.ravel()), num_classes)
            )
        defined = [kappa for kappa in kappas if kappa is not None]
        interval = kappa_interval(truth, predicted, num_classes, resamples=100, seed=4)
        if linear_weighted_kappa(truth, predicted, num_classes) is None or len(defined) < 50:
            assert interval is None
        else:
            assert interval == pytest.approx(tuple(np.percentile(defined, [2.5, 97.5])), abs=1e-12)


def test_resamples_are_those_of_drawing_cases() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, 300)
    predicted = np.clip(truth + generator.integers(-1, 2, 300), 0, 3)
    draws = generator.integers(0, 300, (2000, 300))
    expected = np.percentile([reference(truth[draw], predicted[draw], 4) for draw in draws[:400]], [2.5, 50, 97.5])
    low, high = kappa_interval(truth, predicted, 4, resamples=20_000, seed=1) or (0.0, 0.0)
    assert low == pytest.approx(expected[0], abs=0.012)
    assert high == pytest.approx(expected[2], abs=0.012)
    plain = np.array([confusion_matrix(truth[draw], predicted[draw], 4) for draw in draws])
    ours = resampled_confusions(confusion_matrix(truth, predicted, 4), 2000, seed=1)
    assert np.allclose(plain.mean(axis=0), ours.mean(axis=0), atol=0.6)
    assert np.allclose(plain.std(axis=0), ours.std(axis=0), atol=0.5)


def test_interval_depends_on_the_seed_alone() -> None:
    truth = np.random.default_rng(0).integers(0, 4, 100)
    predicted = np.roll(truth, 30)
    first, again, other = (kappa_interval(truth, predicted, 4, resamples=200, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_no_interval_where_fewer_than_half_of_the_resamples_define_a_kappa() -> None:
    rare = np.array([0, 0, 0, 0, 0, 1])  # (5/6)^6 = 33 % of the resamples are undefined: left out
    assert kappa_interval(rare, rare, 2, resamples=1000, seed=0) == (1.0, 1.0)
    pair = np.array([0, 1])  # half of the resamples are twice the same case: now more, now fewer
    outcomes = set()
    for seed in range(10):
        resamples = resampled_confusions(confusion_matrix(pair, pair, 2), 101, seed)
        defined = int((resamples.max(axis=(1, 2)) == 1).sum())
        expected = (1.0, 1.0) if defined > 50 else None
        assert kappa_interval(pair, pair, 2, resamples=101, seed=seed) == expected
        outcomes.add(expected)
    assert len(outcomes) == 2


def test_cross_entropy_is_scikit_learns_and_finite() -> None:
    generator = np.random.default_rng(1)
    probabilities = generator.dirichlet(np.ones(4), 50)
    truth = generator.integers(0, 4, 50)
    assert cross_entropy(truth, probabilities) == pytest.approx(log_loss(truth, probabilities, labels=range(4)))
    assert 700 < cross_entropy(np.array([1]), np.array([[1.0, 0.0]])) < 710


def test_score_is_by_unit_and_its_loss_by_image() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.0, 0.6, 0.4], [0.3, 0.3, 0.4]])
    labels, units = np.array([0, 0, 2, 2, 1]), np.array([4, 4, 1, 1, 2])
    # unit 1: mean (0.05, 0.4, 0.55) → 2, right; unit 2: → 2, truth 1; unit 4: (0.55, 0.3, 0.15) → 0, right
    result = score(probabilities, labels, units, resamples=100, seed=3)
    assert (result.units, result.images) == (3, 5)
    assert result.confusion == ((1, 0, 0), (0, 0, 1), (0, 0, 1))
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.kappa == pytest.approx(reference(np.array([2, 1, 0]), np.array([2, 2, 0]), 3))
    assert result.interval == kappa_interval(np.array([2, 1, 0]), np.array([2, 2, 0]), 3, resamples=100, seed=3)
    assert result.loss == pytest.approx(-np.log([0.9, 0.2, 0.7, 0.4, 0.3]).mean())


def test_equally_probable_categories_give_the_lower() -> None:
    assert score(np.array([[0.4, 0.4, 0.2]]), np.array([1]), np.array([0]), resamples=100, seed=0).confusion[1] == (1, 0, 0)


def test_score_of_one_category_has_no_kappa() -> None:
    result = score(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 0]), np.array([0, 1]), resamples=100, seed=0)
    assert (result.kappa, result.interval, result.accuracy) == (None, None, 1.0)


def test_score_of_nothing_is_an_error() -> None:
    nothing = np.array([], dtype=np.int64)
    with pytest.raises(DataError, match="no images to score"):
        score(np.zeros((0, 4)), nothing, nothing, resamples=100, seed=0)

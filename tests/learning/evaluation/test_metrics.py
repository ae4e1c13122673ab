"""Every metric against scikit-learn on 200 random cases, missing categories and constant predictions among them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as reference_confusion
from sklearn.metrics import (
    log_loss,
)

from fedcli.learning.evaluation.metrics import (
    Predictions,
    cells,
    cross_entropy,
    estimates,
    kappa,
    kappas,
    resampled,
)
from fedcli.measures import Metric
from tests.fixtures.scikit_learn_metrics import cases, defined, reference


def test_every_metric_is_scikit_learns_and_none_where_undefined() -> None:
    undefined = dict.fromkeys(Metric, 0)
    for predictions in cases():
        expected, ours = reference(predictions), estimates(predictions)
        for metric in Metric:
            undefined[metric] += expected[metric] is None
            assert ours[metric] == (None if expected[metric] is None else pytest.approx(expected[metric], abs=1e-12))
        assert np.array_equal(
            predictions.confusion,
            reference_confusion(predictions.truth, predictions.predicted, labels=range(predictions.num_classes)),
        )
    always = {Metric.ACCURACY, Metric.BALANCED_ACCURACY, Metric.CALIBRATION_ERROR}
    assert all(undefined[metric] == 0 if metric in always else 5 < undefined[metric] < 170 for metric in Metric)


def test_every_resample_is_scikit_learns_with_weights() -> None:
    generator = np.random.default_rng(5)
    for predictions in cases():
        size = len(predictions.truth)
        weights = np.array([np.bincount(generator.integers(0, size, size), minlength=size) for _ in range(2)], dtype=float)
        ours = resampled(predictions, weights)
        for number, drawn in enumerate(weights):
            expected = reference(predictions, drawn)
            for metric in Metric:
                value = expected[metric]
                assert defined(ours[metric][number]) == (None if value is None else pytest.approx(value, abs=1e-12))


def test_kappa_by_hand() -> None:
    truth, predicted = np.array([0, 1, 2, 3]), np.array([0, 1, 3, 3])
    # Σ wO = 1 (2 → 3); Σ wE = Σ |i - j| r_i c_j / 4 = (0+1+3+3 + 1+0+2+2 + 2+1+1+1 + 3+2+0+0) / 4 = 22 / 4
    assert kappa(truth, predicted, 4) == pytest.approx(1 - 4 / 22)
    predictions = Predictions(truth=truth, probabilities=np.eye(4)[predicted], dense=(2, 3))
    assert kappas(cells(predictions).sum(axis=0, keepdims=True)) == pytest.approx(1 - 4 / 22)


def test_the_area_counts_ties_half() -> None:
    predictions = Predictions(
        truth=np.array([0, 0, 1, 1]), probabilities=np.array([[0.9, 0.1], [0.5, 0.5], [0.5, 0.5], [0.2, 0.8]]), dense=(1,)
    )
    assert estimates(predictions)[Metric.DENSE_AUC] == 0.875
    assert resampled(predictions, np.ones((1, 4)))[Metric.DENSE_AUC].tolist() == [0.875]


def test_nothing_is_none() -> None:
    empty = Predictions(truth=np.array([], dtype=np.int64), probabilities=np.zeros((0, 4)), dense=(2, 3))
    assert estimates(empty) == dict.fromkeys(Metric)
    assert kappa(empty.truth, empty.predicted, 4) is None


def test_no_dense_classes_leave_that_metric_out() -> None:
    predictions = Predictions(truth=np.array([0, 1]), probabilities=np.eye(2), dense=())
    assert estimates(predictions)[Metric.DENSE_AUC] is None
    assert np.isnan(resampled(predictions, np.ones((2, 2)))[Metric.DENSE_AUC]).all()


def test_cross_entropy_is_scikit_learns_and_finite() -> None:
    generator = np.random.default_rng(1)
    probabilities = generator.dirichlet(np.ones(4), 50)
    truth = generator.integers(0, 4, 50)
    assert cross_entropy(truth, probabilities) == pytest.approx(log_loss(truth, probabilities, labels=range(4)))
    assert 700 < cross_entropy(np.array([1]), np.array([[1.0, 0.0]])) < 710


def test_cases_are_the_means_of_their_images() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.0, 0.6, 0.4], [0.3, 0.3, 0.4]])
    images = Predictions(truth=np.array([0, 0, 2, 2, 1]), probabilities=probabilities, dense=(2,))
    # unit 1: mean (0.05, 0.4, 0.55) → 2, right; unit 2: → 2, truth 1; unit 4: (0.55, 0.3, 0.15) → 0, right
    cases_of_units = images.by_unit(np.array([4, 4, 1, 1, 2]))
    assert cases_of_units.confusion.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]
    assert np.allclose(cases_of_units.probabilities, [[0.05, 0.4, 0.55], [0.3, 0.3, 0.4], [0.55, 0.3, 0.15]])
    assert estimates(cases_of_units)[Metric.ACCURACY] == pytest.approx(2 / 3)


def test_equally_probable_categories_give_the_lower() -> None:
    predictions = Predictions(truth=np.array([1]), probabilities=np.array([[0.4, 0.4, 0.2]]), dense=(2,))
    assert predictions.predicted.tolist() == [0]

"""Images to patients."""

from __future__ import annotations

import numpy as np

from fedcli.learning.evaluation.metrics import label_by_unit, mean_by_unit

UNITS = np.array([7, 3, 7, 3, 7, 9])


def test_probabilities_of_all_images_of_a_unit_are_averaged() -> None:
    probabilities = np.array([[1.0, 0.0], [0.2, 0.8], [0.4, 0.6], [0.6, 0.4], [0.1, 0.9], [0.3, 0.7]])
    means = mean_by_unit(probabilities, UNITS)  # of 3, 7 and 9
    assert np.allclose(means, [[0.4, 0.6], [0.5, 0.5], [0.3, 0.7]], atol=1e-15)


def test_label_is_the_most_frequent_and_the_higher_of_a_tie() -> None:
    assert label_by_unit(np.array([0, 1, 0, 1, 2, 3]), UNITS, 4).tolist() == [1, 0, 3]
    assert label_by_unit(np.array([0, 1, 0, 2, 3, 3]), UNITS, 4).tolist() == [2, 0, 3]
    assert label_by_unit(np.array([1, 2, 0, 1, 2, 0]), UNITS, 4).tolist() == [2, 2, 0]

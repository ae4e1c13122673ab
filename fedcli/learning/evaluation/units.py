"""From images to cases: a unit, which is scored as one, is a patient (the paper) or a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mean_by_unit(probabilities: NDArray[np.float64], units: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean over the images of each unit, (U, C), in ascending order of units.

    "Predictions from all images from a given patient were averaged together to give a patient-level prediction."

    Args:
        probabilities: (N, C), of each image.
        units: (N,), the unit of each image.
    """
    names, positions, counts = np.unique(units, return_inverse=True, return_counts=True)
    means = np.zeros((len(names), probabilities.shape[1]))
    np.add.at(means, positions, probabilities)
    means /= counts[:, np.newaxis]
    return means


def label_by_unit(labels: NDArray[np.int64], units: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return the category of each unit, (U,), in ascending order of units.

    Density is reported per examination, so the images of a unit normally share their label. If they differ (a patient with
    several examinations), the most frequent label counts; of equally frequent ones the higher, so as not to miss a dense breast.
    """
    names, positions = np.unique(units, return_inverse=True)
    votes = np.zeros((len(names), num_classes), dtype=np.int64)
    np.add.at(votes, (positions, labels), 1)
    labels_of_units: NDArray[np.int64] = num_classes - 1 - np.argmax(votes[:, ::-1], axis=1)
    return labels_of_units

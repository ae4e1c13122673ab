"""From images to cases: a unit is a patient (the paper) or a study, scored as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mean_by_unit(probabilities: NDArray[np.float64], units: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the units in ascending order, (U,), and the mean of all their images' probabilities, (U, C).

    "Predictions from all images from a given patient were averaged together to give a patient-level prediction."

    Args:
        probabilities: (N, C), of each image.
        units: (N,), which unit each image belongs to.
    """
    names, positions, counts = np.unique(units, return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), probabilities.shape[1]))
    np.add.at(sums, positions, probabilities)
    return names, sums / counts[:, np.newaxis]


def label_by_unit(labels: NDArray[np.int64], units: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return the category of each unit, (U,), in ascending order of units.

    Density is reported per examination, so the images of a unit normally share their label. Where they differ (a patient with
    several examinations), the most frequent counts, and the higher of equally frequent ones: a dense breast is not overlooked.
    """
    names, positions = np.unique(units, return_inverse=True)
    votes = np.zeros((len(names), num_classes), dtype=np.int64)
    np.add.at(votes, (positions, labels), 1)
    labels_of_units: NDArray[np.int64] = num_classes - 1 - np.argmax(votes[:, ::-1], axis=1)
    return labels_of_units

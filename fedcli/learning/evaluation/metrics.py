"""How well predictions agree with the radiologists: the paper's kappa and other metrics (docs/metrics.md defines each).

Point estimates are scikit-learn's, over the plan's full list of categories; an undefined one is None, never NaN. The bootstrap
uses `resampled`: the same metrics for many resamples at once, where each observation is weighted by how often it was drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import accuracy_score, cohen_kappa_score, recall_score, roc_auc_score

from fedcli.measures import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

CALIBRATION_BINS = 15


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Predictions:
    """A model's predictions for N observations (cases or single images), and the truth.

    Attributes:
        truth: (N,) int64, true categories.
        probabilities: (N, C) float64, over the plan's C categories; each row sums to 1.
        dense: The categories that count as dense.
    """

    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    dense: tuple[int, ...]

    @property
    def num_classes(self) -> int:
        """C."""
        return int(self.probabilities.shape[1])

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,), the most probable category; the lower of two equally probable ones."""
        most_probable: NDArray[np.int64] = np.argmax(self.probabilities, axis=1)
        return most_probable

    @property
    def confusion(self) -> NDArray[np.int64]:
        """O, (C, C): O_ij observations of true category i were predicted as j."""
        counts: NDArray[np.int64] = cells(self).sum(axis=0, dtype=np.int64).reshape(self.num_classes, self.num_classes)
        return counts

    @property
    def one_vs_rest(self) -> tuple[tuple[NDArray[np.bool_], NDArray[np.float64]], ...]:
        """Each category against the others, then the dense ones: (N,) whether it is the truth, (N,) its predicted probability."""
        each = [(self.truth == number, self.probabilities[:, number]) for number in range(self.num_classes)]
        columns = list(self.dense)
        return (*each, (np.isin(self.truth, columns), self.probabilities[:, columns].sum(axis=1)))

    def by_unit(self, units: NDArray[np.int64]) -> Predictions:
        """Return the predictions for U cases, in ascending order of units: the mean over all images of each case."""
        truth = label_by_unit(self.truth, units, self.num_classes)
        return Predictions(truth=truth, probabilities=mean_by_unit(self.probabilities, units), dense=self.dense)


def kappa(truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int, weights: str = "linear") -> float | None:
    """Return Cohen's weighted kappa over all categories; None if it is undefined.

    It is undefined without observations, and if truth and prediction are the same single category everywhere: there is no chance
    disagreement to compare with.
    """
    if not len(truth) or ((truth == truth[0]).all() and (predicted == truth[0]).all()):
        return None
    return float(cohen_kappa_score(truth, predicted, labels=range(num_classes), weights=weights))


def estimates(predictions: Predictions) -> dict[Metric, float | None]:
    """Return every metric, None if it is undefined."""
    if not len(predictions.truth):
        return dict.fromkeys(Metric)
    truth, predicted, num_classes = predictions.truth, predictions.predicted, predictions.num_classes
    *of_classes, of_dense = (_area(positive, score) for positive, score in predictions.one_vs_rest)
    areas = [area for area in of_classes if area is not None]
    return {
        Metric.KAPPA: kappa(truth, predicted, num_classes),
        Metric.QUADRATIC_KAPPA: kappa(truth, predicted, num_classes, "quadratic"),
        Metric.ACCURACY: float(accuracy_score(truth, predicted)),
        Metric.BALANCED_ACCURACY: float(recall_score(truth, predicted, labels=np.unique(truth), average="macro")),
        Metric.MACRO_AUC: sum(areas) / len(areas) if len(areas) == num_classes else None,
        Metric.DENSE_AUC: of_dense,
        Metric.CALIBRATION_ERROR: float(_calibration_errors(predictions, np.ones((1, len(truth))))[0]),
    }


def resampled(predictions: Predictions, weights: NDArray[np.float64]) -> Mapping[Metric, NDArray[np.float64]]:
    """Return every metric of R resamples, each (R,) float64, NaN where it is undefined.

    Args:
        predictions: Of N observations.
        weights: (R, N), how often each was drawn.
    """
    confusions = weights @ cells(predictions)
    square = confusions.reshape(-1, predictions.num_classes, predictions.num_classes)
    hits, rows = np.diagonal(square, axis1=1, axis2=2), square.sum(axis=2)
    *of_classes, of_dense = (_areas(positive, score, weights) for positive, score in predictions.one_vs_rest)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: undefined
        recalls = hits / rows
        return {
            Metric.KAPPA: kappas(confusions),
            Metric.QUADRATIC_KAPPA: kappas(confusions, power=2),
            Metric.ACCURACY: hits.sum(axis=1) / rows.sum(axis=1),
            Metric.BALANCED_ACCURACY: np.where(rows > 0, recalls, 0).sum(axis=1) / (rows > 0).sum(axis=1),
            Metric.MACRO_AUC: np.mean(of_classes, axis=0),
            Metric.DENSE_AUC: of_dense,
            Metric.CALIBRATION_ERROR: _calibration_errors(predictions, weights),
        }


def cells(predictions: Predictions) -> NDArray[np.float64]:
    """Return each prediction's cell of the confusion matrix, one-hot: (N, C²)."""
    num_classes = predictions.num_classes
    one_hot: NDArray[np.float64] = np.eye(num_classes**2)[predictions.truth * num_classes + predictions.predicted]
    return one_hot


def kappas(confusions: NDArray[np.float64], power: int = 1) -> NDArray[np.float64]:
    """Return the kappas of R confusion matrices, (R, C²), NaN where undefined: κ = 1 - Σ w_ij O_ij / Σ w_ij E_ij.

    w_ij = |i - j|^power, and E_ij = r_i c_j / U is expected by chance from the margins r and c (Cohen 1968). Both sums are
    multiplied by U, which makes them integers: for an undefined kappa the divisor is exactly zero.
    """
    num_classes = math.isqrt(confusions.shape[1])
    square = confusions.reshape(-1, num_classes, num_classes)
    classes = np.arange(num_classes)
    weights = np.abs(classes[:, np.newaxis] - classes) ** power
    rows, columns = square.sum(axis=2), square.sum(axis=1)
    observed = (weights * square).sum(axis=(1, 2)) * rows.sum(axis=1)
    expected = ((rows @ weights) * columns).sum(axis=1)
    with np.errstate(invalid="ignore"):
        result: NDArray[np.float64] = 1.0 - observed / expected
    return result


def cross_entropy(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Return the paper's loss, L = -Σ_i y_i log(p_i), the mean over (N, C) rows.

    A probability of 0 counts as the smallest normal float64, 2.2e-308, so that the loss is finite.
    """
    of_truth = np.take_along_axis(probabilities, truth[:, np.newaxis], axis=1)
    return float(-np.log(np.maximum(of_truth, np.finfo(np.float64).tiny)).mean())


def _area(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float | None:
    """Return the area under the ROC curve; None if all observations are positive, or none is."""
    return float(roc_auc_score(positive, score)) if positive.any() and not positive.all() else None


def _areas(positive: NDArray[np.bool_], score: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas under the ROC curves of R resamples, (R,): the share of pairs in the right order, where a tie is half.

    This is the Mann-Whitney statistic with weights. `below` (R, negatives + 1) holds the total weight of the lowest 0, 1, 2 …
    negatives; a positive is above the negatives before `first`, and ties with those from there to `last`.
    """
    of_negatives = np.flatnonzero(~positive)
    of_negatives = of_negatives[np.argsort(score[of_negatives], kind="stable")]
    below = np.zeros((len(weights), len(of_negatives) + 1))
    np.cumsum(weights[:, of_negatives], axis=1, out=below[:, 1:])
    first = np.searchsorted(score[of_negatives], score[positive], "left")
    last = np.searchsorted(score[of_negatives], score[positive], "right")
    of_positives = weights[:, positive]
    twice_in_order = np.einsum("rp,rp->r", of_positives, below[:, first] + below[:, last])
    pairs = of_positives.sum(axis=1) * below[:, -1]
    with np.errstate(invalid="ignore"):
        areas: NDArray[np.float64] = twice_in_order / (2 * pairs)
    return areas


def _calibration_errors(predictions: Predictions, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the expected calibration errors of R resamples, (R,) (Guo et al. 2017, equation 5).

    The most probable category's probability is sorted into 15 equal bins of (0, 1]: Σ over bins of |Σ (right - probability)| / U.
    """
    confidence = predictions.probabilities.max(axis=1)
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.zeros((len(confidence), CALIBRATION_BINS))
    gaps[np.arange(len(confidence)), bins] = (predictions.truth == predictions.predicted) - confidence
    errors: NDArray[np.float64] = np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)
    return errors


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

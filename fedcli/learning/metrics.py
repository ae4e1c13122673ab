"""How well predictions agree with the radiologists: Cohen's linearly weighted kappa, with its interval.

A case is a unit (patient or study). The kappa is always over the plan's full list of categories, and None where it is
undefined, never NaN: without cases, and where truth and prediction are one and the same single category, since then there is no
chance disagreement to compare with. No torch here: reports need these functions too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedcli.errors import DataError
from fedcli.learning.units import label_by_unit, mean_by_unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a model did on one part of one site's data.

    Attributes:
        units: Number of cases.
        images: Number of images behind them.
        loss: Softmax cross-entropy, the mean over images, as in training.
        kappa: Linearly weighted kappa over the cases; None where undefined.
        interval: Its 95 % bootstrap interval by case; None where undefined.
        accuracy: Fraction of cases predicted right.
        confusion: Cases by true category (rows) and predicted category (columns).
    """

    units: int
    images: int
    loss: float
    kappa: float | None
    interval: tuple[float, float] | None
    accuracy: float
    confusion: tuple[tuple[int, ...], ...]


def score(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    units: NDArray[np.int64],
    *,
    resamples: int,
    seed: int,
) -> Score:
    """Score a model: average over the images of each unit, take the most probable category, compare with the unit's label.

    Args:
        probabilities: (N, C), of each image, over the plan's C categories; of equally probable ones the lower is taken.
        labels: (N,), the category of each image.
        units: (N,), which unit each image belongs to.
        resamples: Bootstrap resamples of units behind the interval.
        seed: Of the bootstrap.

    Raises:
        DataError: There are no images.
    """
    if not len(labels):
        msg = "there are no images to score"
        raise DataError(msg)
    num_classes = probabilities.shape[1]
    _, mean_probabilities = mean_by_unit(probabilities, units)
    predicted = np.argmax(mean_probabilities, axis=1)
    truth = label_by_unit(labels, units, num_classes)
    confusion = confusion_matrix(truth, predicted, num_classes)
    return Score(
        units=len(truth),
        images=len(labels),
        loss=cross_entropy(labels, probabilities),
        kappa=linear_weighted_kappa(truth, predicted, num_classes),
        interval=kappa_interval(truth, predicted, num_classes, resamples=resamples, seed=seed),
        accuracy=float(np.mean(truth == predicted)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def confusion_matrix(truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return O, (C, C) int64: O_ij cases of true category i were predicted as j."""
    cells = np.bincount(truth * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def linear_weighted_kappa(truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> float | None:
    """Return Cohen's kappa with linear weights, as scikit-learn's `cohen_kappa_score(weights="linear")` has it.

    Args:
        truth: (U,) true categories.
        predicted: (U,) predicted categories.
        num_classes: C, all of the plan's.
    """
    kappa = _kappas(confusion_matrix(truth, predicted, num_classes)[np.newaxis])
    return float(kappa[0]) if len(kappa) else None


def kappa_interval(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int, *, resamples: int, seed: int
) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of the kappa, cases drawn with replacement.

    Resamples whose kappa is undefined are left out; where they are more than half, or the kappa itself is undefined, there is
    no interval.
    """
    if linear_weighted_kappa(truth, predicted, num_classes) is None:
        return None
    kappas = _kappas(resampled_confusions(confusion_matrix(truth, predicted, num_classes), resamples, seed))
    if 2 * len(kappas) < resamples:
        return None
    low, high = np.percentile(kappas, _PERCENTILES)
    return float(low), float(high)


def resampled_confusions(confusion: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.int64]:
    """Return the confusion matrices, (resamples, C, C), of as many cases drawn with replacement.

    Only the cell of a drawn case matters, so U draws among the cases are one multinomial draw over the cells.
    """
    num_cases = int(confusion.sum())
    cells = np.random.default_rng(seed).multinomial(num_cases, confusion.ravel() / num_cases, size=resamples)
    return cells.reshape(resamples, *confusion.shape)


def cross_entropy(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Return the paper's loss, L = -Σ_i y_i log(p_i), the mean over (N, C) rows.

    A probability that vanished in float64 counts as the smallest there is, 2.2e-308, so that the loss stays finite.
    """
    of_truth = np.take_along_axis(probabilities, truth[:, np.newaxis], axis=1)
    return float(-np.log(np.maximum(of_truth, np.finfo(np.float64).tiny)).mean())


def _kappas(confusions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the kappas of those confusion matrices, (R, C, C), that define one: κ = 1 - Σ w_ij O_ij / Σ w_ij E_ij.

    w_ij = |i - j|, and E_ij = r_i c_j / U is what the margins r and c would give by chance. Multiplied by U all is in integers,
    so that "undefined" is an exact zero.
    """
    classes = np.arange(confusions.shape[-1])
    weights = np.abs(classes[:, np.newaxis] - classes)
    rows, columns = confusions.sum(axis=2), confusions.sum(axis=1)
    observed = (weights * confusions).sum(axis=(1, 2)) * rows.sum(axis=1)
    expected = ((rows @ weights) * columns).sum(axis=1)
    defined = expected > 0
    kappas: NDArray[np.float64] = 1.0 - observed[defined] / expected[defined]
    return kappas

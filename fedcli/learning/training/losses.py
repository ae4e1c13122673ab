"""The losses that training minimises, for each image of a batch, weighted by the image's category.

Every loss takes logits z, (B, C), and target distributions y, (B, C): one-hot labels, of which label smoothing spreads a share
evenly over all C classes (Szegedy et al. 2016, section 7). p is the softmax of z. FedProx's term is added to
the mean loss of the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from fedcli.plan import ClassWeights, Loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from fedcli.plan import Training


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the paper's loss of each image, L = -Σ_i y_i log(p_i), (B,)."""
    return -(targets * functional.log_softmax(logits, dim=1)).sum(dim=1)


def squared_earth_movers_distance(logits: Tensor, targets: Tensor) -> Tensor:
    """Return Σ_i (P_i - Y_i)² of each image, (B,), with P and Y the cumulative sums of p and y over the classes in their order.

    Hou, Yu & Samaras 2016, "Squared Earth Mover's Distance-based Loss for Training Deep Neural Networks", with l = 2 and without
    their constant factor 1/C; in forecasting, Epstein's ranked probability score (1969). It is a proper scoring rule: its mean is
    least if p is the distribution of the labels. Mistaking a for d costs more than mistaking a for b.
    """
    difference = torch.cumsum(functional.softmax(logits, dim=1) - targets, dim=1)
    return difference.square().sum(dim=1)


def class_weights(labels: NDArray[np.int64], num_classes: int, weighting: ClassWeights) -> NDArray[np.float64]:
    """Return the factor on the loss of an image of each category, (C,).

    By inverse frequency it is N / (K n_c), where n_c of the N images are in category c and K categories occur; its mean over all
    images is 1. A category without images has weight 0.
    """
    if weighting is ClassWeights.NONE:
        return np.ones(num_classes)
    counts = np.bincount(labels, minlength=num_classes)
    weights = np.zeros(num_classes)
    weights[counts > 0] = len(labels) / (np.count_nonzero(counts) * counts[counts > 0])
    return weights


class Objective:
    """The plan's loss for a site's labels.

    Args:
        training: Loss, class weights, label smoothing.
        labels: (N,), the categories of all training images of the site.
        num_classes: C.
    """

    def __init__(self, training: Training, labels: NDArray[np.int64], num_classes: int) -> None:
        self._loss = _LOSSES[training.loss]
        self._smoothing = training.label_smoothing
        self._num_classes = num_classes
        self._weights = torch.from_numpy(class_weights(labels, num_classes, training.class_weights))

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted loss of each image, (B,), in float32, or in float64 for float64 logits."""
        logits = logits if logits.dtype == torch.float64 else logits.float()
        one_hot = functional.one_hot(labels, self._num_classes).to(logits.dtype)
        targets = one_hot * (1 - self._smoothing) + self._smoothing / self._num_classes
        return self._loss(logits, targets) * self._weights.to(logits.device, logits.dtype)[labels]


_LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    Loss.CROSS_ENTROPY: cross_entropy,
    Loss.ORDINAL: squared_earth_movers_distance,
}


class Proximal:
    """FedProx (Li et al. 2020): μ/2 ‖w - w_received‖² over the trainable weights; buffers are not part of it.

    Args:
        module: Holds the received model, whose weights are copied here.
        strength: μ; 0 leaves the term out.
    """

    def __init__(self, module: nn.Module, strength: float) -> None:
        self._strength = strength
        weights = [parameter for parameter in module.parameters() if parameter.requires_grad] if strength else []
        self._pairs = [(weight, weight.detach().clone()) for weight in weights]

    def __call__(self) -> Tensor | float:
        """Return the term for the current weights, with its gradient μ (w - w_received)."""
        if not self._pairs:
            return 0.0
        return self._strength / 2 * torch.stack([(weight - received).square().sum() for weight, received in self._pairs]).sum()

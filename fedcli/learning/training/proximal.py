"""FedProx (Li et al. 2020): a term that keeps a site's weights near the received model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


class Proximal:
    """μ/2 ‖w - w_received‖² over the trainable weights; buffers are not part of it.

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

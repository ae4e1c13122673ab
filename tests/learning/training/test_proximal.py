"""FedProx's term has the gradient μ (w - w_received), only on weights."""

from __future__ import annotations

import torch
from torch import nn

from fedcli.learning.training.proximal import Proximal


def moved(strength: float) -> tuple[nn.Sequential, Proximal]:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    module[1].weight.requires_grad_(requires_grad=False)
    term = Proximal(module, strength)
    with torch.no_grad():
        module[0].weight.add_(0.5)
        module[0].bias.sub_(0.25)
        module[1].weight.add_(7)
        module[1].running_mean.add_(7)
    return module, term


def test_value_and_gradient() -> None:
    module, term = moved(strength=0.2)
    value = term()
    assert isinstance(value, torch.Tensor)
    assert value.item() == 0.1 * (6 * 0.5**2 + 2 * 0.25**2)
    value.backward()
    assert torch.allclose(module[0].weight.grad, torch.full((2, 3), 0.2 * 0.5, dtype=torch.float64))
    assert torch.allclose(module[0].bias.grad, torch.full((2,), 0.2 * -0.25, dtype=torch.float64))
    assert module[1].weight.grad is None  # not trained
    assert module[1].bias.grad.abs().max() == 0


def test_no_strength_is_no_term() -> None:
    _, term = moved(strength=0.0)
    assert term() == 0.0

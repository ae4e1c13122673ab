"""What training minimises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from fedcli.learning.training.losses import Objective, Proximal, class_weights, squared_earth_movers_distance
from fedcli.plan import ClassWeights, Loss, Training

LABELS = np.array([0, 0, 0, 0, 2, 2, 3, 3], dtype=np.int64)
LOGITS = torch.randn(8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
TRUTH = torch.from_numpy(LABELS)


def losses(**settings: object) -> torch.Tensor:
    return Objective(Training(**settings), LABELS, 4)(LOGITS, TRUTH)  # type: ignore[arg-type]


def test_the_papers_loss_is_torchs_cross_entropy() -> None:
    assert torch.allclose(losses(), functional.cross_entropy(LOGITS, TRUTH, reduction="none"), atol=1e-12)


def test_label_smoothing_is_torchs() -> None:
    expected = functional.cross_entropy(LOGITS, TRUTH, reduction="none", label_smoothing=0.2)
    assert torch.allclose(losses(label_smoothing=0.2), expected, atol=1e-12)
    assert not torch.allclose(losses(), expected, atol=1e-3)


def test_class_weights_are_inverse_to_the_frequency_and_one_on_average() -> None:
    weights = class_weights(LABELS, 4, ClassWeights.INVERSE_FREQUENCY)
    assert weights.tolist() == [8 / (3 * 4), 0, 8 / (3 * 2), 8 / (3 * 2)]
    assert weights[LABELS].mean() == pytest.approx(1)
    expected = losses() * torch.from_numpy(weights)[TRUTH]
    assert torch.allclose(losses(class_weights=ClassWeights.INVERSE_FREQUENCY), expected, atol=1e-12)


def test_ordinal_loss_by_hand() -> None:
    probabilities = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
    distance = squared_earth_movers_distance(probabilities.log(), torch.tensor([[0.0, 1.0, 0.0, 0.0]], dtype=torch.float64))
    assert distance.item() == pytest.approx(0.1**2 + (0.3 - 1) ** 2 + (0.6 - 1) ** 2)


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_ordinal_loss_grows_with_the_distance_of_the_classes(truth: int, near: int, far: int) -> None:
    def certain_of(category: int) -> float:
        logits = torch.full((1, 4), -50.0, dtype=torch.float64)
        logits[0, category] = 50.0
        return squared_earth_movers_distance(logits, functional.one_hot(torch.tensor([truth]), 4).double()).item()

    assert certain_of(near) == pytest.approx(abs(near - truth), abs=1e-9)
    if abs(near - truth) < abs(far - truth):
        assert certain_of(near) < certain_of(far)


def test_ordinal_loss_is_least_at_the_distribution_of_the_labels() -> None:
    """A proper scoring rule: its gradient vanishes there and nowhere near."""
    frequencies = torch.tensor([0.5, 0.0, 0.25, 0.25], dtype=torch.float64)

    def slope(probabilities: torch.Tensor) -> float:
        logits = (probabilities + 1e-12).log().repeat(8, 1).requires_grad_()
        targets = functional.one_hot(TRUTH, 4).double()
        (gradient,) = torch.autograd.grad(squared_earth_movers_distance(logits, targets).mean(), logits)
        return float(gradient.sum(dim=0).abs().max())

    assert slope(frequencies) < 1e-9
    assert slope(torch.tensor([0.4, 0.1, 0.25, 0.25], dtype=torch.float64)) > 1e-3


@pytest.mark.parametrize("loss", list(Loss))
def test_the_plan_chooses_the_loss_and_half_precision_logits_are_widened(loss: Loss) -> None:
    losses_of_half = Objective(Training(loss=loss), LABELS, 4)(LOGITS.bfloat16(), TRUTH)
    assert losses_of_half.dtype == torch.float32
    assert torch.allclose(losses_of_half.double(), losses(loss=loss), atol=0.05)
    assert not torch.allclose(losses(loss=Loss.ORDINAL), losses(loss=Loss.CROSS_ENTROPY), atol=0.05)


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

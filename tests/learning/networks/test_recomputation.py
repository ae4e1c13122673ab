"""DenseNet's activations computed again: the same bits in less memory."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torchvision.models import DenseNet, resnet18

from fedcli.learning.networks.recomputation import recomputed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


def densenet(drop_rate: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return DenseNet(8, (3, 4), 8, bn_size=4, drop_rate=drop_rate, num_classes=4)


def step(module: nn.Module, *, again: bool) -> tuple[dict[str, Tensor], int]:
    """Take the gradients of one batch; return all that has changed, and the bytes that autograd kept in the meantime."""
    images = torch.rand((4, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    torch.manual_seed(2)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        with recomputed(module) if again else nullcontext():
            outputs = module.train()(images)
        outputs.square().sum().backward()
    gradients = {f"{name}.grad": weight.grad for name, weight in module.named_parameters() if weight.grad is not None}
    return {"outputs": outputs.detach(), **gradients, **module.state_dict()}, kept


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(mode=True)
    yield
    torch.use_deterministic_algorithms(mode=False)


@pytest.mark.parametrize("drop_rate", [0.0, 0.3])
def test_gradients_and_statistics_are_the_same_bits(drop_rate: float) -> None:
    plain, _ = step(densenet(drop_rate), again=False)
    less, _ = step(densenet(drop_rate), again=True)
    assert plain.keys() == less.keys()
    assert sum(name.endswith(".grad") for name in less) == len(list(densenet().parameters()))
    for name, tensor in plain.items():
        assert torch.equal(tensor, less[name]), name


def test_a_batch_counts_once() -> None:
    module = densenet()
    step(module, again=True)
    counters = {name: int(count) for name, count in module.named_buffers() if name.endswith("num_batches_tracked")}
    assert counters
    assert set(counters.values()) == {1}


def test_less_is_kept() -> None:
    _, plain = step(densenet(), again=False)
    _, less = step(densenet(), again=True)
    assert less < 0.6 * plain


def test_a_network_is_left_as_it_was() -> None:
    module = densenet()
    before = {name: vars(part).copy() for name, part in module.named_modules()}
    with recomputed(module):
        pass
    assert {name: vars(part) for name, part in module.named_modules()} == before


def test_other_networks_are_as_they_were() -> None:
    torch.manual_seed(0)
    module = resnet18(num_classes=4)
    plain, kept = step(module, again=False)
    torch.manual_seed(0)
    less, other = step(resnet18(num_classes=4), again=True)
    assert kept == other
    assert all(torch.equal(tensor, less[name]) for name, tensor in plain.items())

"""Networks as ONNX models: the probabilities that torch returns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedcli.errors import ConfigurationError
from fedcli.learning.determinism import reproducible
from fedcli.learning.evaluation import onnx_model
from fedcli.learning.networks import registry
from fedcli.plan import Beginning, Network, Normalisation

NAMES = ("image", "probabilities")


@pytest.mark.parametrize(
    ("network", "size"),
    [
        (Network(name="small", normalisation=Normalisation.GROUP), 16),
        *(
            pytest.param(network, size, marks=pytest.mark.slow)
            for network, size in (
                (Network(), 48),
                (Network(normalisation=Normalisation.GROUP), 48),
                (Network(weights=Beginning.IMAGENET), 48),
                (Network(name="resnet18"), 64),
                (Network(name="efficientnet_b0"), 64),
                (Network(name="vit_b_16"), 224),
            )
        ),
    ],
    ids=str,
)
def test_the_same_probabilities(network: Network, size: int) -> None:
    with reproducible(1, torch.device("cpu")):
        module = registry.build(network, 4)
        with torch.no_grad():  # fresh heads return nearly the same for every image
            for parameter in list(module.parameters())[-2:]:
                parameter.mul_(20)
    images = np.random.default_rng(1).integers(0, 65536, (7, size, size)).astype(np.uint16)
    content = onnx_model.encode(module, size, NAMES, {})
    assert onnx_model.largest_difference(content, module, images) < 1e-4
    with torch.no_grad():
        list(module.parameters())[-1].add_(torch.arange(4) * 10.0)  # also where one class is nearly certain
    assert onnx_model.largest_difference(content, module, images) > 1e-4


def test_a_network_that_cannot_be_written() -> None:
    class Branching(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, :4] if images.sum().item() > 0 else images.flatten(1)[:, 4:8]

    with pytest.raises(ConfigurationError, match="torch cannot write this network as ONNX"):
        onnx_model.encode(Branching(), 16, NAMES, {})

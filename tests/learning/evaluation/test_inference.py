"""Probabilities of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from fedcli.errors import DataError, TrainingError
from fedcli.learning.evaluation.inference import probabilities
from fedcli.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.learning.samples import Samples


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 14 * 14, 4))


def test_softmax_of_every_image_in_evaluation_mode(noise: Samples, network: nn.Sequential, cpu: torch.device) -> None:
    network.train()
    statistics = network.state_dict()["1.running_mean"].clone()
    result = probabilities(network, noise.images, device=cpu, progress=Silent())
    network.eval()
    logits = network(torch.tensor(noise.images / 65535.0, dtype=torch.float32)[:, None]).detach().numpy().astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert result.dtype == np.float64
    assert result.shape == (22, 4)
    assert np.allclose(result, expected, atol=1e-6)
    assert np.allclose(result.sum(axis=1), 1, atol=1e-12)
    assert torch.equal(network.state_dict()["1.running_mean"], statistics)


@pytest.mark.filterwarnings("error")
def test_memory_mapped_images_are_the_same(noise: Samples, network: nn.Sequential, cpu: torch.device, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", noise.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    whole = probabilities(network, noise.images, device=cpu, progress=Silent())
    assert np.array_equal(probabilities(network, mapped, device=cpu, progress=Silent()), whole)


class Counting(nn.Module):
    """A network that notes how many images it is given at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(images))
        means = images.mean(dim=(1, 2, 3)) * self.scale
        return torch.stack((means, -means), dim=1)


@pytest.mark.parametrize(("size", "most"), [(64, 128), (224, 10), (1024, 1)])
def test_a_batch_has_as_many_images_as_its_pixels_allow(size: int, most: int, cpu: torch.device) -> None:
    network = Counting()
    count = most * 2 + 1
    images = np.random.default_rng(0).integers(0, 65536, (count, size, size)).astype(np.uint16)
    result = probabilities(network, images, device=cpu, progress=Silent())
    assert network.seen == [most, most, 1]
    means = images.mean(axis=(1, 2)) / 65535
    assert np.allclose(result[:, 0], 1 / (1 + np.exp(-2 * means)), atol=1e-6)


def test_no_images_is_an_error(noise: Samples, network: nn.Sequential, cpu: torch.device) -> None:
    with pytest.raises(DataError, match="scoring: there are no images"):
        probabilities(network, noise.images[:0], device=cpu, progress=Silent())


def test_broken_network_is_an_error(noise: Samples, network: nn.Sequential, cpu: torch.device) -> None:
    network.state_dict()["4.bias"][2] = float("inf")
    with pytest.raises(TrainingError, match="not finite for 22 of 22 images"):
        probabilities(network, noise.images, device=cpu, progress=Silent())

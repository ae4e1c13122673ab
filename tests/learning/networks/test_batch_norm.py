"""BatchNorm's own tensors, and its statistics measured again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from fedcli.errors import ConfigurationError
from fedcli.learning.networks.batch_norm import names, recalibrate
from fedcli.learning.networks.registry import build
from fedcli.learning.networks.weights import to_arrays
from fedcli.plan import Network
from fedcli.progress import Silent

if TYPE_CHECKING:
    from fedcli.learning.samples import Samples


@pytest.fixture
def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(),
            nn.Linear(3 * 12 * 12, 4),
        ).double()  # fmt: skip
    module[1].running_mean.fill_(5)
    module[1].num_batches_tracked.fill_(17)
    return module


def test_names_are_those_of_weights_and_buffers_of_batch_norm(network: nn.Sequential) -> None:
    keys = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert names(network) == {f"{layer}.{key}" for layer in (1, 4) for key in keys}
    assert names(network) < network.state_dict().keys()


def test_a_network_without_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no BatchNorm layers"):
        names(build(Network(name="small"), 4))


def test_statistics_are_the_plain_means_over_one_pass(noise: Samples, network: nn.Sequential, cpu: torch.device) -> None:
    before = to_arrays(network)
    momentum = network[1].momentum
    recalibrate(network, noise, batch_size=8, device=cpu, progress=Silent())
    after = to_arrays(network)
    images = torch.tensor(noise.images / 65535.0)[:, None]
    parts = [images[0::3], images[1::3], images[2::3]]  # ceil(22 / 8) = 3
    with torch.no_grad():
        first = [network[0](part) for part in parts]
        norm = nn.BatchNorm2d(2, affine=False).double().train()
        second = [network[3](norm(each)) for each in first]
    for layer, features in ((1, first), (4, second)):
        mean = np.mean([part.mean(dim=(0, 2, 3)).numpy() for part in features], axis=0)
        variance = np.mean([part.var(dim=(0, 2, 3), correction=1).numpy() for part in features], axis=0)
        assert np.abs(after[f"{layer}.running_mean"] - mean).max() < 1e-12
        assert np.abs(after[f"{layer}.running_var"] - variance).max() < 1e-12
    changed = {name for name, array in after.items() if not np.array_equal(array, before[name])}
    assert changed == {f"{layer}.running_{kind}" for layer in (1, 4) for kind in ("mean", "var")}
    assert network[1].momentum == momentum == 0.1
    assert not any(layer.training for layer in network.modules())


def test_no_batch_has_one_image(noise: Samples, network: nn.Sequential, cpu: torch.device) -> None:
    sizes: list[int] = []
    network.register_forward_pre_hook(lambda _module, arguments: sizes.append(len(arguments[0])))
    for num_images, batch_size in ((21, 2), (3, 2), (22, 7), (2, 1)):
        rows = replace(
            noise, **{name: getattr(noise, name)[:num_images] for name in ("images", "labels", "units")}, patients=None
        )
        recalibrate(network, rows, batch_size=batch_size, device=cpu, progress=Silent())
        assert sum(sizes) == num_images
        assert min(sizes) > 1
        sizes.clear()

"""Networks by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from fedcli.errors import ConfigurationError
from fedcli.learning.networks.registry import build, check_fit, initial_state
from fedcli.plan import Beginning, Network, Normalisation

if TYPE_CHECKING:
    from pathlib import Path

# Huang et al.'s DenseNet-121 for three channels and 1000 classes has 7,978,856; ours lacks two channels of the stem and has a
# head of 4 × (1024 + 1) instead of 1000 × (1024 + 1).
DENSENET_WEIGHTS = 7_978_856 - 2 * 64 * 7 * 7 - 996 * 1025


def test_densenet_has_one_channel_and_four_outputs() -> None:
    network = build(Network(name="densenet121"), 4).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == DENSENET_WEIGHTS == 6_951_684
    assert network(torch.zeros(2, 1, 64, 64)).shape == (2, 4)


def test_densenet_stem_is_initialised_as_the_rest() -> None:
    stem = initial_state(Network(name="densenet121"), 4, seed=0)["features.conv0.weight"]
    assert stem.shape == (64, 1, 7, 7)
    assert stem.std() == pytest.approx(np.sqrt(2 / 49), rel=0.1)


def test_small_normalises_each_image_by_itself() -> None:
    network = build(Network(name="small"), 7)
    assert network(torch.rand(2, 1, 64, 64)).shape == (2, 7)
    assert 1_000 < sum(parameter.numel() for parameter in network.parameters()) < 100_000
    assert not list(network.buffers())


def test_unknown_network_lists_the_known() -> None:
    with pytest.raises(ConfigurationError, match=r"resnet9000.*densenet121.*resnet50.*small"):
        build(Network(name="resnet9000"), 4)


@pytest.mark.parametrize("name", ["densenet121", "mobilenet_v3_small"])
def test_group_normalisation_takes_the_place_of_every_batch_normalisation(name: str) -> None:
    batch = build(Network(name=name), 4)
    group = build(Network(name=name, normalisation=Normalisation.GROUP), 4).train()
    expected = {path: module.num_features for path, module in batch.named_modules() if isinstance(module, nn.BatchNorm2d)}
    groups = {path: module for path, module in group.named_modules() if isinstance(module, nn.GroupNorm)}
    assert {path: module.num_channels for path, module in groups.items()} == expected
    assert not any(isinstance(module, nn.BatchNorm2d) for module in group.modules())
    assert not list(group.buffers())
    assert {module.num_groups for module in groups.values()} <= {8, 16, 32}
    if name == "densenet121":
        assert {module.num_groups for module in groups.values()} == {32}
    images = torch.rand(3, 1, 64, 64)
    with torch.no_grad():
        torch.manual_seed(0)
        together = group.eval()(images)
    assert torch.allclose(together[:1], group(images[:1]), atol=1e-4)  # an image does not see the others of its batch


def test_small_has_group_normalisation_either_way() -> None:
    states = [initial_state(Network(name="small", normalisation=kind), 4, seed=1) for kind in Normalisation]
    assert all(np.array_equal(states[0][key], states[1][key]) for key in states[0])


def test_only_torchvisions_networks_have_imagenet_weights() -> None:
    with pytest.raises(ConfigurationError, match="network small: there are no ImageNet weights for it"):
        build(Network(name="small", weights=Beginning.IMAGENET), 4)


def test_a_size_that_the_network_does_not_take_is_refused() -> None:
    check_fit(Network(name="densenet121"), 4, 32, 2)
    with pytest.raises(ConfigurationError, match=r"network vit_b_32: does not take images of 64 × 64 pixels: .*height"):
        check_fit(Network(name="vit_b_32"), 4, 64, 2)
    with pytest.raises(ConfigurationError, match=r"network alexnet: does not take images of 16 × 16 pixels"):
        check_fit(Network(name="alexnet"), 4, 16, 2)


def test_a_batch_of_one_image_and_batchnorm_do_not_go_together() -> None:
    with pytest.raises(ConfigurationError, match=r"network resnet18: has BatchNorm, .* training\.batch_size is 1"):
        check_fit(Network(name="resnet18"), 4, 32, 1)
    check_fit(Network(name="resnet18", normalisation=Normalisation.GROUP), 4, 32, 1)
    check_fit(Network(name="small"), 4, 32, 1)


def install(folder: Path, package: str, entry: str) -> None:
    information = folder / f"{package}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[fedcli.networks]\n{entry}\n")
    (folder / f"{package}.py").write_text("from torch import nn\ndef linear(num_classes): return nn.Linear(3, num_classes)\n")


def test_installed_network_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "learning_extra", "linear = learning_extra:linear")
    monkeypatch.syspath_prepend(tmp_path)
    network = build(Network(name="linear"), 5)
    assert isinstance(network, nn.Linear)
    assert network.out_features == 5
    with pytest.raises(ConfigurationError, match=r"densenet121.*linear.*small"):
        build(Network(name="resnet9000"), 4)


def test_installed_network_cannot_take_a_name_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "learning_thief", "small = learning_thief:linear")
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(build(Network(name="small"), 4), nn.Sequential)


def test_network_installed_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "learning_one", "linear = learning_one:linear")
    install(tmp_path, "learning_two", "linear = learning_two:linear")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="learning_one:linear, learning_two:linear"):
        build(Network(name="linear"), 4)


@pytest.mark.parametrize("name", ["small", "densenet121"])
def test_initial_state_depends_only_on_the_seed(name: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = initial_state(Network(name=name), 4, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = initial_state(Network(name=name), 4, seed=7), initial_state(Network(name=name), 4, seed=8)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert any(not np.array_equal(first[key], other[key]) for key in first)
    assert {array.dtype.name for array in first.values()} <= {"float32", "int64"}

"""torchvision's classifiers, fitted to one channel and the plan's classes; and the files of their ImageNet weights."""

from __future__ import annotations

import hashlib
import os
import pickle
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.transforms.v2.functional import normalize

from fedcli.errors import ConfigurationError
from fedcli.learning.networks import classifiers, pretrained

if TYPE_CHECKING:
    from pathlib import Path

MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIZES = {"inception_v3": 96, "vit_b_16": 224, "vit_b_32": 224, "vit_l_16": 224, "vit_l_32": 224, "vit_h_14": 224, "maxvit_t": 224}


@pytest.fixture
def grey() -> torch.Tensor:
    """Return two images at whose border nothing is black."""
    return torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.2


def lean_names() -> list[str]:
    """Return all classifiers but most RegNets: they compute shapes with tensors, so that they have to be real, and are large."""
    return [name for name in classifiers.names() if not name.startswith("regnet") or name.endswith("400mf")]


@pytest.mark.parametrize("name", lean_names())
def test_every_classifier_takes_one_channel_and_gives_a_logit_a_class(name: str) -> None:
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # only shapes: some have 600 million weights
        for centred in (False, True):
            network = classifiers.build(name, 4, centred=centred).eval()
            size = SIZES.get(name, 64)
            assert network(torch.zeros(2, 1, size, size)).shape == (2, 4)


@pytest.mark.parametrize("name", ["densenet121", "resnet18", "swin_t", "squeezenet1_1"])
def test_a_grey_image_gives_what_three_equal_colours_give(name: str, grey: torch.Tensor) -> None:
    torch.manual_seed(3)
    coloured = models.get_model(name, num_classes=4).double().eval()
    torch.manual_seed(3)
    ours = classifiers.build(name, 4, centred=False).double().eval()
    expected = coloured(grey.double().expand(-1, 3, -1, -1))
    assert torch.allclose(ours(grey.double()), expected, rtol=1e-5, atol=1e-6)


def body_and_head(name: str, seed: int, num_classes: int) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Return torchvision's network of 1000 classes with a trained network's statistics, and its weights."""
    torch.manual_seed(seed)
    network = models.get_model(name, num_classes=num_classes)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return network, network.state_dict()


@pytest.mark.parametrize("name", ["densenet121", "resnet18", "squeezenet1_1"])
def test_imagenet_weights_see_a_grey_image_as_imagenet_normalised(name: str, grey: torch.Tensor) -> None:
    trained, weights = body_and_head(name, 5, 1000)
    ours = classifiers.build(name, 4, centred=True, pretrained=weights).double().eval()
    trained = trained.double().eval()
    seen: dict[str, torch.Tensor] = {}

    def before_the_head(whose: str, network: nn.Module) -> None:
        outputs = 4 if whose == "ours" else 1000
        head = next(module for module in network.modules() if getattr(module, "weight", torch.zeros(1)).shape[0] == outputs)
        head.register_forward_pre_hook(lambda _, inputs: seen.update({whose: inputs[0]}))

    before_the_head("ours", ours)
    before_the_head("theirs", trained)
    ours(grey.double())
    trained(normalize(grey.double().expand(-1, 3, -1, -1), MEAN, DEVIATION))
    # The stem is folded in float64 and kept in float32; the borders are as exact as the middle.
    assert torch.allclose(seen["ours"], seen["theirs"], rtol=1e-4, atol=1e-5)
    assert seen["theirs"].std() > 1e-3


def test_the_stem_is_exact_up_to_the_border(grey: torch.Tensor) -> None:
    trained, weights = body_and_head("resnet18", 5, 1000)
    ours = classifiers.build("resnet18", 4, centred=True, pretrained=weights)
    expected = trained.conv1(normalize(grey.expand(-1, 3, -1, -1), MEAN, DEVIATION))
    assert torch.allclose(ours.conv1(grey), expected, atol=1e-5)
    assert expected.std() > 0.1


def test_the_head_is_fresh_and_the_rest_is_the_files() -> None:
    _, weights = body_and_head("resnet18", 5, 1000)
    torch.manual_seed(1)
    ours = classifiers.build("resnet18", 4, centred=True, pretrained=weights).state_dict()
    torch.manual_seed(1)
    fresh = classifiers.build("resnet18", 4, centred=True).state_dict()
    assert torch.equal(ours["fc.weight"], fresh["fc.weight"])
    assert ours["fc.weight"].shape == (4, 512)
    body = [key for key in ours if not key.startswith("fc.") and key != "conv1.weight"]
    assert len(body) == 119
    assert all(torch.equal(ours[key], weights[key]) for key in body)


def test_another_networks_weights_are_refused() -> None:
    _, weights = body_and_head("resnet34", 5, 1000)
    with pytest.raises(ConfigurationError, match=r"not the ImageNet weights of resnet18: layer1\.2"):
        classifiers.build("resnet18", 4, centred=True, pretrained=weights)
    _, weights = body_and_head("resnet18", 5, 10)
    with pytest.raises(ConfigurationError, match=r"not the ImageNet weights of resnet18: fc\.bias is missing, unexpected"):
        classifiers.build("resnet18", 4, centred=True, pretrained=weights)


def test_a_file_is_read_whole_and_named_by_its_digest(tmp_path: Path) -> None:
    weights = {"a.weight": torch.arange(6.0).view(2, 3), "b.bias": torch.ones(2)}
    torch.save(weights, tmp_path / "one.pth")
    save_file(weights, tmp_path / "two.safetensors")
    for path in (tmp_path / "one.pth", tmp_path / "two.safetensors"):
        file = pretrained.read(path)
        assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert file.tensors.keys() == weights.keys()
        assert all(torch.equal(file.tensors[key], weights[key]) for key in weights)


def test_old_names_and_second_heads(tmp_path: Path) -> None:
    old = ["features.denseblock1.denselayer2.norm.1.weight", "features.denseblock1.denselayer2.conv.2.weight", "aux1.fc1.bias"]
    torch.save({key: torch.zeros(1) for key in [*old, "AuxLogits.fc.bias", "features.norm5.bias"]}, tmp_path / "old.pth")
    assert set(pretrained.read(tmp_path / "old.pth").tensors) == {
        "features.denseblock1.denselayer2.norm1.weight",
        "features.denseblock1.denselayer2.conv2.weight",
        "features.norm5.bias",
    }


class Trap:
    """What runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_no_code_in_a_file_runs(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    torch.save({"a": torch.zeros(1), "b": Trap(trap)}, tmp_path / "new.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"b": Trap(trap)}))
    for name in ("new.pth", "old.pth"):
        with pytest.raises(ConfigurationError, match=f"{name}: no weights that can be read safely"):
            pretrained.read(tmp_path / name)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.pth", b"", "no weights"),
        ("text.safetensors", b"hello", "no weights"),
        ("model-00000000.pth", b"x", "expected 00000000 from its name"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        pretrained.read(tmp_path / name)


def test_a_file_of_something_else_and_none_at_all(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "checkpoint.pth")
    with pytest.raises(ConfigurationError, match="something other than tensors by name"):
        pretrained.read(tmp_path / "checkpoint.pth")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        pretrained.read(tmp_path / "missing.pth")


def test_the_cache_is_used_and_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"checkpoints/densenet121-a639ec97\.pth does not exist"):
        pretrained.cached("densenet121")
    assert not list(tmp_path.rglob("*.pth"))
    path = tmp_path / "hub" / "checkpoints" / "densenet121-a639ec97.pth"
    path.parent.mkdir(parents=True)
    path.touch()
    assert pretrained.cached("densenet121") == path

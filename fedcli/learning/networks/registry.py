"""Networks as a plan names them, and their weights as arrays.

A network maps images, (B, 1, H, W) in [0, 1], to logits, (B, num_classes). No code travels between sites, only a name: `small`,
one of torchvision's classifiers (`classifiers`), or one that a site has installed under the entry-point group `fedcli.networks`,
whose value is a function of `num_classes`. An installed one cannot take a name of the others.
"""

from __future__ import annotations

import math
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from fedcli.errors import ConfigurationError
from fedcli.learning.determinism import reproducible
from fedcli.learning.networks import classifiers
from fedcli.learning.samples import FULL_SCALE
from fedcli.plan import Beginning, Normalisation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.metadata import EntryPoint

    from numpy.typing import NDArray

    from fedcli.learning.networks.pretrained import Pretrained
    from fedcli.plan import Network

ENTRY_POINT_GROUP = "fedcli.networks"
SMALL = "small"
_NAMED_AT_MOST = 3
_GROUPS = 32
"""Of a GroupNorm in BatchNorm's place: Wu & He's choice, or the largest divisor of it that divides the channels too."""


def build(network: Network, num_classes: int, pretrained: Pretrained | None = None) -> nn.Module:
    """Return the plan's network with fresh weights, drawn from torch's global generator.

    Args:
        network: Its name, and what belongs to its structure.
        num_classes: The plan's number of categories.
        pretrained: ImageNet weights for all but the head, where the plan begins from them.

    Raises:
        ConfigurationError: No network of this name, or more than one, is installed; or it has no ImageNet weights.
    """
    centred = network.weights is Beginning.IMAGENET
    if network.name in (known := () if network.name == SMALL else classifiers.names()):
        module = classifiers.build(
            network.name, num_classes, centred=centred, pretrained=pretrained.tensors if pretrained else None
        )
    elif centred:
        msg = f"network {network.name}: there are no ImageNet weights of it"
        raise ConfigurationError(msg, hint='set network.weights = "none", or name one of torchvision\'s classifiers')
    else:
        module = _small(num_classes) if network.name == SMALL else _installed(network.name, known)(num_classes)
    if network.normalisation is Normalisation.GROUP:
        _normalise_by_group(module)
    return module


def initial_state(network: Network, num_classes: int, seed: int, pretrained: Pretrained | None = None) -> dict[str, NDArray[Any]]:
    """Return φ(0): the weights of a fresh network, the same for the same seed; the global generator is left alone."""
    with reproducible(seed, torch.device("cpu")):
        return to_arrays(build(network, num_classes, pretrained))


def check_size(network: Network, num_classes: int, size: int) -> None:
    """Try the network on one square image.

    Raises:
        ConfigurationError: It does not take images of this size, or gives something else than a logit a class.
    """
    with reproducible(0, torch.device("cpu")), torch.inference_mode():
        module = build(network, num_classes).eval()
        try:
            shape = tuple(module(torch.zeros(1, 1, size, size)).shape)
        except (RuntimeError, ValueError, AssertionError) as error:
            msg = f"network {network.name}: does not take images of {size} × {size} pixels: {str(error).splitlines()[0]}"
            raise ConfigurationError(msg, hint="set images.size to what the network is made for") from error
    if shape != (1, num_classes):
        msg = f"network {network.name}: gives {shape} for one image, expected (1, {num_classes})"
        raise ConfigurationError(msg)


def to_arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Return copies of all weights and buffers, C-contiguous, in the module's own types (float32, int64 for counters)."""
    return {name: np.array(tensor.detach().cpu().numpy(), order="C") for name, tensor in module.state_dict().items()}


def load_arrays(module: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Set all weights and buffers.

    Raises:
        ConfigurationError: A tensor is missing, extra, or of another shape or type; the message names them.
    """
    check_arrays(to_arrays(module), arrays, "the weights do not fit the network")
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})


def check_arrays(expected: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]], complaint: str) -> None:
    """Compare names, shapes and types.

    Raises:
        ConfigurationError: They differ; the message begins with the complaint.
    """
    faults = [f"{name} is missing" for name in expected.keys() - found.keys()]
    faults += [f"{name} does not belong there" for name in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        want, got = expected[name], found[name]
        if (want.shape, want.dtype) != (got.shape, got.dtype):
            faults.append(f"{name} must be {want.shape} {want.dtype}, found {got.shape} {got.dtype}")
    if faults:
        more = f"; and {len(faults) - _NAMED_AT_MOST} more" if len(faults) > _NAMED_AT_MOST else ""
        msg = f"{complaint}: {'; '.join(sorted(faults)[:_NAMED_AT_MOST])}{more}"
        raise ConfigurationError(msg)


def as_input(images: torch.Tensor, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return what a network takes: (B, 1, H, W) in [0, 1] on its device, in the type of its weights.

    Args:
        images: (B, H, W) uint16 fixed point; crosses to the device as such, half the size of float32.
        dtype: The type of the network's weights.
        device: Where the network is.
    """
    return images.to(device, non_blocking=True).to(dtype).div_(FULL_SCALE).unsqueeze(1)


def _installed(name: str, known: Sequence[str]) -> Callable[[int], nn.Module]:
    """Return what an installed package offers under a name."""
    offered: list[EntryPoint] = list(entry_points(group=ENTRY_POINT_GROUP))
    found = [entry for entry in offered if entry.name == name]
    if len(found) > 1:
        sources = ", ".join(sorted(entry.value for entry in found))
        msg = f"network {name}: installed more than once ({sources})"
        raise ConfigurationError(msg, hint="uninstall all but one of these packages")
    if not found:
        names = sorted({SMALL, *known, *(entry.name for entry in offered)})
        msg = f"network {name}: not known on this machine; known are {', '.join(names)}"
        raise ConfigurationError(msg, hint=f"install the package that offers it under the entry-point group {ENTRY_POINT_GROUP}")
    builder: Callable[[int], nn.Module] = found[0].load()
    return builder


def _normalise_by_group(module: nn.Module) -> None:
    """Put a GroupNorm in the place of every BatchNorm: no statistics in which sites could disagree."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                groups = math.gcd(_GROUPS, child.num_features)
                setattr(parent, name, nn.GroupNorm(groups, child.num_features, eps=child.eps, affine=child.affine))


def _small(num_classes: int) -> nn.Module:
    """Return a network for rehearsals: four convolutions, 60 thousand weights.

    GroupNorm, not BatchNorm: each image is normalised by itself, so that there are no running statistics in which sites with
    other intensity curves could disagree.
    """
    layers: list[nn.Module] = []
    for channels_in, channels_out in ((1, 16), (16, 32), (32, 64), (64, 64)):
        layers += [
            nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=2, padding=1, bias=False),
            nn.GroupNorm(num_groups=4, num_channels=channels_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes))

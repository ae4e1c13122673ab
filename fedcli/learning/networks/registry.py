"""Networks by the name that a plan gives them.

A network maps images, (B, 1, H, W) in [0, 1], to logits, (B, num_classes). No code travels between sites, only a name: `small`,
one of torchvision's classifiers (`classifiers`), or one that a package offers under the entry-point group `fedcli.networks`,
whose value is a function of `num_classes`. A package's network cannot replace one of the others.
"""

from __future__ import annotations

import math
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fedcli.errors import ConfigurationError
from fedcli.learning.determinism import reproducible
from fedcli.learning.networks import classifiers
from fedcli.learning.networks.weights import load_tensors, to_arrays
from fedcli.plan import Beginning, Normalisation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.metadata import EntryPoint

    from fedcli.learning.networks.pretrained import Pretrained
    from fedcli.plan import Network
    from fedcli.tensors import Arrays

ENTRY_POINT_GROUP = "fedcli.networks"
SMALL = "small"
_GROUPS = 32
"""Groups of a GroupNorm that replaces BatchNorm (Wu & He 2018), or the largest divisor of 32 that divides the channels too."""


def build(network: Network, num_classes: int, pretrained: Pretrained | None = None) -> nn.Module:
    """Return the plan's network with fresh weights, drawn from torch's global generator.

    Args:
        network: Its name and structure.
        num_classes: The plan's number of categories.
        pretrained: ImageNet weights for all but the head, where the plan begins from them.

    Raises:
        ConfigurationError: There is no network of this name, or more than one; or it has no ImageNet weights.
    """
    centred = network.weights is Beginning.IMAGENET
    if network.name in (known := () if network.name == SMALL else classifiers.names()):
        module = classifiers.build(
            network.name, num_classes, centred=centred, pretrained=pretrained.tensors if pretrained else None
        )
    elif centred:
        msg = f"network {network.name}: there are no ImageNet weights for it"
        raise ConfigurationError(
            msg, hint='set network.weights = "none", or "file" for a model of fedcli; or name a classifier of torchvision'
        )
    else:
        module = _small(num_classes) if network.name == SMALL else _installed(network.name, known)(num_classes)
    if network.normalisation is Normalisation.GROUP:
        _normalise_by_group(module)
    return module


def initial_state(network: Network, num_classes: int, seed: int, pretrained: Pretrained | None = None) -> Arrays:
    """Return φ(0); the global generator is unchanged.

    Args:
        network: Says what φ(0) is: fresh weights, the same for the same seed; ImageNet weights with a fresh head; or a file's.
        num_classes: The plan's number of categories.
        seed: The plan's.
        pretrained: The weights of the file, where the plan begins from one. A whole model of this network, with this number of
            categories, is taken as it is, also where the plan asks for ImageNet weights.

    Raises:
        ConfigurationError: They do not fit the network, or are not finite.
    """
    with reproducible(seed, torch.device("cpu")):
        module = build(network, num_classes)
    if pretrained is None:
        return to_arrays(module)
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    if network.weights is Beginning.FILE or shapes == {name: tensor.shape for name, tensor in pretrained.tensors.items()}:
        load_tensors(module, pretrained.tensors, f"{pretrained.path}: no model of {network.name} with {num_classes} classes")
        return to_arrays(module)
    with reproducible(seed, torch.device("cpu")):
        return to_arrays(build(network, num_classes, pretrained))


def check_fit(network: Network, num_classes: int, size: int, batch_size: int) -> None:
    """Try the network on one square image, and hold its normalisation against the size of a mini-batch.

    Raises:
        ConfigurationError: It does not take images of this size, does not return one logit per class, or normalises by batches of
            one image.
    """
    with reproducible(0, torch.device("cpu")), torch.inference_mode():
        module = build(network, num_classes).eval()
        try:
            shape = tuple(module(torch.zeros(1, 1, size, size)).shape)
        except (RuntimeError, ValueError, AssertionError) as error:
            msg = f"network {network.name}: does not take images of {size} × {size} pixels: {str(error).splitlines()[0]}"
            raise ConfigurationError(msg, hint="set images.size to a size that the network takes") from error
    if shape != (1, num_classes):
        msg = f"network {network.name}: returns {shape} for one image, expected (1, {num_classes})"
        raise ConfigurationError(msg)
    if batch_size == 1 and any(isinstance(layer, _BatchNorm) for layer in module.modules()):
        msg = f"network {network.name}: has BatchNorm, which needs several images in a mini-batch; training.batch_size is 1"
        raise ConfigurationError(msg, hint='set a larger training.batch_size, or network.normalisation = "group"')


def _installed(name: str, known: Sequence[str]) -> Callable[[int], nn.Module]:
    """Return the function that an installed package offers under a name."""
    offered: list[EntryPoint] = list(entry_points(group=ENTRY_POINT_GROUP))
    matching = [entry for entry in offered if entry.name == name]
    if len(matching) > 1:
        sources = ", ".join(sorted(entry.value for entry in matching))
        msg = f"network {name}: installed more than once ({sources})"
        raise ConfigurationError(msg, hint="uninstall all but one of these packages")
    if not matching:
        names = sorted({SMALL, *known, *(entry.name for entry in offered)})
        msg = f"network {name}: not known on this machine; known are {', '.join(names)}"
        raise ConfigurationError(msg, hint=f"install the package that offers it under the entry-point group {ENTRY_POINT_GROUP}")
    builder: Callable[[int], nn.Module] = matching[0].load()
    return builder


def _normalise_by_group(module: nn.Module) -> None:
    """Replace every BatchNorm by a GroupNorm, which has no running statistics that could differ between sites."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                groups = math.gcd(_GROUPS, child.num_features)
                setattr(parent, name, nn.GroupNorm(groups, child.num_features, eps=child.eps, affine=child.affine))


def _small(num_classes: int) -> nn.Module:
    """Return a network for rehearsals: four convolutions, 60 thousand weights.

    It uses GroupNorm, which normalises each image by itself and has no running statistics that could differ between sites.
    """
    layers: list[nn.Module] = []
    for channels_in, channels_out in ((1, 16), (16, 32), (32, 64), (64, 64)):
        layers += [
            nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=2, padding=1, bias=False),
            nn.GroupNorm(num_groups=4, num_channels=channels_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes))

"""Networks by name, and their weights as arrays.

A network maps images, (B, 1, H, W) in [0, 1], to logits, (B, num_classes). No code travels between sites, only a name: one of
those below, or one that a site has installed under the entry-point group `fedcli.networks`, whose value is a function of
`num_classes`. A name below cannot be replaced by an installed one.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torchvision.models import densenet121

from fedcli.errors import ConfigurationError
from fedcli.learning.determinism import reproducible
from fedcli.learning.samples import FULL_SCALE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.metadata import EntryPoint

    from numpy.typing import NDArray

ENTRY_POINT_GROUP = "fedcli.networks"
_NAMED_AT_MOST = 3


def build(name: str, num_classes: int) -> nn.Module:
    """Return the network of this name with fresh weights, drawn from torch's global generator.

    Raises:
        ConfigurationError: No network of this name, or more than one, is installed.
    """
    if name in _BUILDERS:
        return _BUILDERS[name](num_classes)
    installed = [entry for entry in _installed() if entry.name == name]
    if len(installed) > 1:
        sources = ", ".join(sorted(entry.value for entry in installed))
        msg = f"network {name}: installed more than once ({sources})"
        raise ConfigurationError(msg, hint="uninstall all but one of these packages")
    if not installed:
        known = ", ".join(sorted({*_BUILDERS, *(entry.name for entry in _installed())}))
        msg = f"network {name}: not known on this machine; known are {known}"
        raise ConfigurationError(msg, hint=f"install the package that offers it under the entry-point group {ENTRY_POINT_GROUP}")
    network: nn.Module = installed[0].load()(num_classes)
    return network


def initial_state(name: str, num_classes: int, seed: int) -> dict[str, NDArray[Any]]:
    """Return φ(0): the weights of a fresh network, the same for the same seed; the global generator is left alone."""
    with reproducible(seed, torch.device("cpu")):
        return to_arrays(build(name, num_classes))


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


def as_input(images: NDArray[np.uint16], module: nn.Module, device: torch.device) -> torch.Tensor:
    """Return what the module takes: (B, 1, H, W) in [0, 1] on the device, in the type of the module's weights.

    Args:
        images: (B, H, W) uint16 fixed point; crosses to the device as such, half the size of float32.
        module: Tells the floating-point type.
        device: Where the module is.
    """
    dtype = next(module.parameters()).dtype
    return torch.from_numpy(images).to(device).to(dtype).div_(FULL_SCALE).unsqueeze(1)


def _installed() -> list[EntryPoint]:
    return list(entry_points(group=ENTRY_POINT_GROUP))


def _densenet121(num_classes: int) -> nn.Module:
    """Return the paper's network: DenseNet-121 with `num_classes` outputs on its last feature layer, for one-channel images."""
    network: nn.Module = densenet121(weights=None, num_classes=num_classes)
    stem = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(stem.weight)  # as torchvision initialises its own
    network.get_submodule("features").register_module("conv0", stem)
    return network


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


_BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "densenet121": _densenet121,
    "small": _small,
}

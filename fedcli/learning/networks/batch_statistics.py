"""BatchNorm apart from the other layers: what a site may keep to itself, and statistics measured anew.

FedBN (Li et al. 2021): a site keeps its BatchNorm layers, weights and running statistics, and shares the rest.
Recalibration (Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3.2): running statistics are moving averages over the
last steps of training, and after averaging over sites they are those of no network at all; here they are measured on the network
as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from fedcli.errors import ConfigurationError
from fedcli.learning.networks.registry import as_input
from fedcli.learning.training.batches import steps_per_epoch

if TYPE_CHECKING:
    from torch import nn

    from fedcli.learning.samples import Samples
    from fedcli.progress import Progress


def layers(module: nn.Module) -> dict[str, _BatchNorm]:
    """Return the BatchNorm layers that keep running statistics, by their names.

    Raises:
        ConfigurationError: There are none.
    """
    found = {name: layer for name, layer in module.named_modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats}
    if not found:
        msg = "the network has no BatchNorm layers, which training.statistics is about"
        raise ConfigurationError(msg, hint='with such a network, set training.statistics = "average"')
    return found


def names(module: nn.Module) -> frozenset[str]:
    """Return the names of all weights and buffers of the BatchNorm layers."""
    return frozenset(f"{name}.{key}" for name, layer in layers(module).items() for key in layer.state_dict())


def recalibrate(
    module: nn.Module,
    samples: Samples,
    *,
    batch_size: int,
    device: torch.device,
    progress: Progress,
    label: str = "measuring BatchNorm's statistics",
) -> None:
    """Set every running mean and variance to its plain mean over one pass; nothing else of the module changes.

    The pass is over all images, unchanged, in S = ceil(N / B) batches: the s-th takes images s, s + S, s + 2S and so on, so that
    each is spread over the data and none is small. The network is in training mode in its BatchNorm layers alone, and computes
    without bfloat16.

    Args:
        module: The network; it is moved, and left in evaluation mode.
        samples: The site's training images.
        batch_size: B.
        device: Where to compute.
        progress: Told of every batch, in images.
        label: What the progress is called.

    Raises:
        ConfigurationError: The network has no BatchNorm layers.
    """
    module.to(device).eval()
    found = layers(module).values()
    dtype = next(module.parameters()).dtype
    before = [(layer, layer.momentum, layer.get_buffer("num_batches_tracked").clone()) for layer in found]
    for layer in found:
        layer.reset_running_stats()
        layer.momentum = None  # torch's name for the plain mean
        layer.train()
    num_batches = steps_per_epoch(len(samples), batch_size)
    with torch.inference_mode(), progress.track(label, len(samples), "images") as advance:
        for number in range(num_batches):
            rows = samples.images[number::num_batches]
            module(as_input(torch.from_numpy(rows.copy()), dtype, device))
            advance(len(rows), "")
    for layer, momentum, counter in before:
        layer.momentum = momentum
        layer.get_buffer("num_batches_tracked").copy_(counter)
        layer.eval()

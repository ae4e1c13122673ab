"""The BatchNorm layers of a network: which tensors are theirs, and how their running statistics are measured again.

FedBN (Li et al. 2021): a site keeps its BatchNorm layers, weights and running statistics, and shares the rest.
Recalibration (Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3.2): running statistics are moving averages over the
last training steps, and once averaged over sites they belong to no network; here they are measured on the current network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from fedcli.errors import ConfigurationError
from fedcli.learning.samples import as_input

if TYPE_CHECKING:
    from torch import nn

    from fedcli.learning.samples import Samples
    from fedcli.progress import Progress


def layers(module: nn.Module) -> dict[str, _BatchNorm]:
    """Return the BatchNorm layers that keep running statistics, by name.

    Raises:
        ConfigurationError: There are none.
    """
    named = {name: layer for name, layer in module.named_modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats}
    if not named:
        msg = "the network has no BatchNorm layers, so training.statistics cannot apply"
        raise ConfigurationError(msg, hint='with such a network, set training.statistics = "average"')
    return named


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
    label: str = "measuring BatchNorm statistics",
) -> None:
    """Set every running mean and variance to its plain mean over one pass; nothing else of the module changes.

    The pass is over all images, without augmentation, in S = ceil(N / B) batches, or fewer where a batch would have one image:
    the s-th takes images s, s + S, s + 2S and so on, so that each batch is spread over the data and none is small. Only the
    BatchNorm layers are in training mode, and nothing is computed in bfloat16.

    Args:
        module: The network; it is moved to the device, and is in evaluation mode afterwards.
        samples: The site's training images.
        batch_size: B.
        device: Where to compute.
        progress: Notified of the images of every batch.
        label: What the progress is called.

    Raises:
        ConfigurationError: The network has no BatchNorm layers.
    """
    module.to(device).eval()
    batch_norms = layers(module).values()
    dtype = next(module.parameters()).dtype
    before = [(layer, layer.momentum, layer.get_buffer("num_batches_tracked").clone()) for layer in batch_norms]
    for layer in batch_norms:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean
        layer.train()
    num_batches = max(1, min(-(-len(samples) // batch_size), len(samples) // 2))
    with torch.inference_mode(), progress.track(label, len(samples), "images") as advance:
        for number in range(num_batches):
            rows = samples.images[number::num_batches]
            module(as_input(torch.from_numpy(rows.copy()), dtype, device))
            advance(len(rows), "")
    for layer, momentum, counter in before:
        layer.momentum = momentum
        layer.get_buffer("num_batches_tracked").copy_(counter)
        layer.eval()

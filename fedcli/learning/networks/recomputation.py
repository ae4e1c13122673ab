"""Activations that are computed again in the backward pass instead of kept: less memory, more time, the same bits.

A layer of DenseNet concatenates the outputs of all layers before it, so that what autograd keeps grows with the square of a
block's depth. Pleiss et al. 2017 ("Memory-Efficient Implementation of DenseNets") do not keep the results of concatenation,
normalisation and rectification, which are cheap to compute again. torchvision's `memory_efficient` does the same, but updates
BatchNorm's running statistics again in the backward pass, which would change what a site sends. Here they are updated once.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.functional import dropout
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from torch import nn


@contextmanager
def recomputed(module: nn.Module) -> Iterator[None]:
    """Make DenseNet's layers keep less for the backward pass; other networks are unchanged.

    A layer keeps only its inputs and the result of its first convolution, which is small and expensive to compute.
    """
    layers = [part for part in module.modules() if hasattr(part, "bn_function")]  # torchvision's dense layers
    for layer in layers:
        layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # restores the method of the class


def _forward(layer: Any, inputs: Tensor | Sequence[Tensor]) -> Tensor:
    """Compute torchvision's `_DenseLayer.forward`."""
    features = [inputs] if isinstance(inputs, Tensor) else inputs
    bottleneck = _checkpointed(layer, lambda *parts: layer.bn_function(parts), *features)
    output = _checkpointed(layer, lambda wide: layer.conv2(layer.relu2(layer.norm2(wide))), bottleneck)
    return dropout(output, layer.drop_rate, layer.training) if layer.drop_rate else output


def _checkpointed(layer: nn.Module, compute: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Compute now and, up to the last tensor that is needed, again in the backward pass."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(layer)

    return checkpoint(compute, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


@contextmanager
def _statistics_kept(layer: nn.Module) -> Iterator[None]:
    """Make BatchNorm update copies of its running statistics, which are then dropped."""
    before = [
        (part, name, buffer) for part in layer.modules() if isinstance(part, _BatchNorm) for name, buffer in part.named_buffers()
    ]
    for part, name, buffer in before:
        setattr(part, name, buffer.clone())
    try:
        yield
    finally:
        for part, name, buffer in before:
            setattr(part, name, buffer)

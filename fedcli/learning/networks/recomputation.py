"""Activations that are computed again on the way back rather than kept: less memory, more time, the same bits.

A layer of DenseNet concatenates the outputs of all layers before it, so that what autograd keeps grows with the square of a
block's depth. Pleiss et al. 2017 ("Memory-Efficient Implementation of DenseNets") keep the inputs of convolutions that are cheap
to make again, those of concatenation, normalisation and rectification, no longer than a step on the way. torchvision has that as
`memory_efficient`; but there BatchNorm moves its running statistics a second time when it sees the batch again, which would
change what a site sends. Here the second look leaves them alone.
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
    """Let DenseNet's layers keep less while gradients are computed; other networks are as they were.

    A layer keeps its inputs and the result of its first convolution: one that widens nothing, and is dear.
    """
    layers = [part for part in module.modules() if hasattr(part, "bn_function")]  # torchvision's dense layers
    for layer in layers:
        layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own comes to light


def _forward(layer: Any, inputs: Tensor | Sequence[Tensor]) -> Tensor:
    """Compute torchvision's `_DenseLayer.forward`."""
    bottleneck = _kept_out(layer, lambda *parts: layer.bn_function(parts), *([inputs] if isinstance(inputs, Tensor) else inputs))
    features = _kept_out(layer, lambda wide: layer.conv2(layer.relu2(layer.norm2(wide))), bottleneck)
    return dropout(features, layer.drop_rate, layer.training) if layer.drop_rate else features


def _kept_out(layer: nn.Module, compute: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Compute, and again on the way back; what comes after the last tensor that is needed then, a convolution, is left out."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(layer)

    return checkpoint(compute, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


@contextmanager
def _statistics_kept(layer: nn.Module) -> Iterator[None]:
    """Let BatchNorm normalise by the batch, and move and count in copies that are dropped."""
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

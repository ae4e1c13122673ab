"""Adam, and SGD with momentum; their state as arrays: a site may keep it between rounds, and never uploads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fedcli.learning.networks.weights import check_arrays

if TYPE_CHECKING:
    from torch import nn

    from fedcli.tensors import Arrays

_ADAM, _SGD = ("exp_avg", "exp_avg_sq"), ("momentum_buffer",)


def adam(module: nn.Module, *, rate: float, weight_decay: float) -> torch.optim.Adam:
    """Return Adam over the module's trainable weights; weight decay is Adam's L2 penalty, a term λθ of the gradient."""
    parameters = list(trainable(module).values())
    fused = parameters[0].device.type in {"cpu", "cuda"}
    return torch.optim.Adam(parameters, lr=rate, weight_decay=weight_decay, fused=fused)


def sgd(module: nn.Module, *, rate: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """Return SGD over the module's trainable weights: v ← βv + g + λθ, θ ← θ - ηv."""
    return torch.optim.SGD(list(trainable(module).values()), lr=rate, momentum=momentum, weight_decay=weight_decay)


def state_arrays(optimizer: torch.optim.Optimizer, module: nn.Module) -> Arrays:
    """Return the state of every weight.

    Adam's is `<weight>:exp_avg`, `<weight>:exp_avg_sq` (its shape and type) and `<weight>:step` (() float32); SGD's is
    `<weight>:momentum_buffer`. They are zeros for a weight that has had no gradient yet.
    """
    arrays: Arrays = {}
    moments = _moments(optimizer)
    for name, parameter in trainable(module).items():
        state = optimizer.state.get(parameter, {})
        for moment in moments:
            tensor = state.get(moment)
            tensor = torch.zeros_like(parameter) if tensor is None else tensor
            arrays[f"{name}:{moment}"] = np.array(tensor.detach().cpu().numpy(), order="C")
        if moments is _ADAM:
            arrays[f"{name}:step"] = np.array(state["step"].item() if state else 0, dtype=np.float32)
    return arrays


def restore_state(optimizer: torch.optim.Optimizer, module: nn.Module, arrays: Arrays) -> None:
    """Restore what `state_arrays` returned; the rate and weight decay are unchanged.

    Raises:
        ConfigurationError: The arrays belong to another network.
    """
    check_arrays(state_arrays(optimizer, module), arrays, "the optimizer state does not fit the network")
    for name, parameter in trainable(module).items():
        # In the weight's own memory layout, which the fused step expects of the moments.
        state = {
            key: torch.empty_like(parameter).copy_(torch.from_numpy(np.array(arrays[f"{name}:{key}"])))
            for key in _moments(optimizer)
        }
        if isinstance(optimizer, torch.optim.Adam):
            state["step"] = torch.from_numpy(np.array(arrays[f"{name}:step"])).to(parameter.device)
        optimizer.state[parameter] = state


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next steps."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def _moments(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    return _ADAM if isinstance(optimizer, torch.optim.Adam) else _SGD


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights that training changes, by name, in the network's order."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}

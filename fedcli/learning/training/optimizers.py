"""Adam, and its state as arrays: a site may keep it between rounds, and never uploads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fedcli.learning.networks.weights import check_arrays

if TYPE_CHECKING:
    from torch import nn

    from fedcli.tensors import Arrays

_MOMENTS = ("exp_avg", "exp_avg_sq")


def adam(module: nn.Module, *, rate: float, weight_decay: float) -> torch.optim.Adam:
    """Return Adam over the module's trainable weights; weight decay is Adam's L2 penalty, a term λθ of the gradient."""
    parameters = list(_trainable(module).values())
    fused = parameters[0].device.type in {"cpu", "cuda"}
    return torch.optim.Adam(parameters, lr=rate, weight_decay=weight_decay, fused=fused)


def state_arrays(optimizer: torch.optim.Adam, module: nn.Module) -> Arrays:
    """Return `<weight>:exp_avg`, `<weight>:exp_avg_sq` (its shape and type) and `<weight>:step` (() float32) of every weight.

    They are zeros for a weight that has had no gradient yet.
    """
    arrays: Arrays = {}
    for name, parameter in _trainable(module).items():
        state = optimizer.state.get(parameter, {})
        for moment in _MOMENTS:
            tensor = state.get(moment, torch.zeros_like(parameter))
            arrays[f"{name}:{moment}"] = np.array(tensor.detach().cpu().numpy(), order="C")
        arrays[f"{name}:step"] = np.array(state["step"].item() if state else 0, dtype=np.float32)
    return arrays


def restore_state(optimizer: torch.optim.Adam, module: nn.Module, arrays: Arrays) -> None:
    """Restore what `state_arrays` returned; the rate and weight decay are unchanged.

    Raises:
        ConfigurationError: The arrays belong to another network.
    """
    check_arrays(state_arrays(optimizer, module), arrays, "the optimizer state does not fit the network")
    for name, parameter in _trainable(module).items():
        # In the weight's own memory layout, which the fused step expects of the moments.
        moments = {
            key: torch.empty_like(parameter).copy_(torch.from_numpy(np.array(arrays[f"{name}:{key}"]))) for key in _MOMENTS
        }
        step = torch.from_numpy(np.array(arrays[f"{name}:step"])).to(parameter.device)
        optimizer.state[parameter] = {"step": step, **moments}


def set_rate(optimizer: torch.optim.Adam, rate: float) -> None:
    """Set the learning rate of the next steps."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def _trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}

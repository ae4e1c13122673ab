"""A network's weights as arrays by name: what travels between the parties and what checkpoints hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fedcli.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from fedcli.tensors import Arrays

_MAX_NAMED = 3


def to_arrays(module: nn.Module) -> Arrays:
    """Return copies of all weights and buffers, C-contiguous, in the module's own types (float32, int64 for counters)."""
    return {name: np.array(tensor.detach().cpu().numpy(), order="C") for name, tensor in module.state_dict().items()}


def load_arrays(module: nn.Module, arrays: Arrays) -> None:
    """Set all weights and buffers.

    Raises:
        ConfigurationError: A tensor is missing, unexpected, or of another shape or type; the message names it.
    """
    check_arrays(to_arrays(module), arrays, "the weights do not fit the network")
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], complaint: str) -> None:
    """Set all weights and buffers from a file of somebody else's.

    Raises:
        ConfigurationError: A tensor is missing, unexpected, of another shape or type, or not finite; the message names it.
    """
    hint = (
        "network and classes in the plan must be those of the file; "
        'the model of a federation that began from ImageNet weights needs network.weights = "imagenet"'
    )
    check_arrays(module.state_dict(), tensors, complaint, hint)
    for name, tensor in sorted(tensors.items()):
        if not torch.isfinite(tensor).all():
            msg = f"{complaint}: {name} has a value that is not finite"
            raise ConfigurationError(msg)
    module.load_state_dict(dict(tensors))


def check_arrays(expected: Mapping[str, Any], arrays: Mapping[str, Any], complaint: str, hint: str = "") -> None:
    """Compare names, shapes and types of arrays, or of tensors.

    Raises:
        ConfigurationError: They differ; the message begins with the complaint.
    """
    faults = [f"{name} is missing" for name in expected.keys() - arrays.keys()]
    faults += [f"{name} is unexpected" for name in arrays.keys() - expected.keys()]
    for name in expected.keys() & arrays.keys():
        want, got = _kind(expected[name]), _kind(arrays[name])
        if want != got:
            faults.append(f"{name} must be {want}, found {got}")
    if faults:
        more = f"; and {len(faults) - _MAX_NAMED} more" if len(faults) > _MAX_NAMED else ""
        msg = f"{complaint}: {'; '.join(sorted(faults)[:_MAX_NAMED])}{more}"
        raise ConfigurationError(msg, hint=hint)


def _kind(array: Any) -> str:
    """Return shape and type in words."""
    return f"{tuple(array.shape)} {str(array.dtype).removeprefix('torch.')}"

"""A network's weights as arrays by name: what travels between the parties and what checkpoints hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fedcli.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import nn

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


def check_arrays(expected: Arrays, arrays: Arrays, complaint: str) -> None:
    """Compare names, shapes and types.

    Raises:
        ConfigurationError: They differ; the message begins with the complaint.
    """
    faults = [f"{name} is missing" for name in expected.keys() - arrays.keys()]
    faults += [f"{name} is unexpected" for name in arrays.keys() - expected.keys()]
    for name in expected.keys() & arrays.keys():
        want, got = expected[name], arrays[name]
        if (want.shape, want.dtype) != (got.shape, got.dtype):
            faults.append(f"{name} must be {want.shape} {want.dtype}, found {got.shape} {got.dtype}")
    if faults:
        more = f"; and {len(faults) - _MAX_NAMED} more" if len(faults) > _MAX_NAMED else ""
        msg = f"{complaint}: {'; '.join(sorted(faults)[:_MAX_NAMED])}{more}"
        raise ConfigurationError(msg)

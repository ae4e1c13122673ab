"""Several processes that train one network together, each on its share of every batch (DistributedDataParallel).

The processes form torch's default process group. Each holds a replica of the network; gradients are averaged, so that all take
the step that one process would take on the whole batch. BatchNorm is synchronised on CUDA. On a CPU each replica normalises by
its own share, and the first one's running statistics are kept.

Private training shares the patients of a step likewise; the sums of their clipped gradients are added up in the first process,
which alone adds noise, and the noisy sum is what the others take their step with.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from fedcli.errors import ConfigurationError
from fedcli.learning.networks.weights import load_arrays, to_arrays
from fedcli.learning.training.optimizers import restore_state, state_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.learning.training.checkpoint import Snapshot
    from fedcli.tensors import Arrays

S = TypeVar("S", "NDArray[np.int64]", torch.Tensor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """One process among those that train together.

    Attributes:
        rank: Its number, from 0; only the first process verifies, scores, writes and publishes.
        size: Number of processes.
        local: Its number on its machine, which is also the number of its GPU.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    def share(self, whole: S) -> S:
        """Return every `size`-th image of a batch, so that all categories are in every share."""
        return whole[self.rank :: self.size]

    def align(self, module: nn.Module) -> None:
        """Replace the weights of all other processes by those of the first one."""
        if self.size > 1:
            load_arrays(module, self.broadcast(to_arrays(module)))

    def replicate(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Return the module to call for training; its weights become those of the first process."""
        if self.size == 1:
            return module
        if device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        # Harmless: a weight with one channel or one pixel has two equivalent strides.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        return DistributedDataParallel(module)

    def require_shares(self, batch_size: int, module: nn.Module, device: torch.device) -> None:
        """Raise a ConfigurationError where a process would have no image, or only one for BatchNorm that is not synchronised."""
        apart = device.type != "cuda" and any(isinstance(layer, _BatchNorm) for layer in module.modules())
        if self.size > 1 and batch_size < self.size * (2 if apart else 1):
            needed = ", two for each, which BatchNorm needs" if apart else ""
            msg = f"{self.size} processes cannot share a batch of {batch_size} images{needed}"
            raise ConfigurationError(msg, hint="use fewer devices")

    def total(self, *values: float) -> tuple[float, ...]:
        """Return each value's sum over all processes, the same in all of them."""
        if self.size == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums)
        return tuple(sums.tolist())

    def add_up(self, values: torch.Tensor) -> None:
        """Add the values of all other processes to those of the first one, in the order of their numbers."""
        if self.rank:
            distributed.send(values, 0)
            return
        others = torch.empty_like(values) if self.size > 1 else values
        for rank in range(1, self.size):
            distributed.recv(others, rank)
            values.add_(others)

    def spread(self, values: torch.Tensor) -> None:
        """Replace the values of all other processes by those of the first one."""
        if self.size > 1:
            distributed.broadcast(values, 0)

    def broadcast(self, arrays: Arrays) -> Arrays:
        """Return the first process's arrays; names, shapes and types must be the same in all processes."""
        if self.size == 1:
            return arrays
        received = {name: torch.from_numpy(np.array(arrays[name], order="C")) for name in sorted(arrays)}
        for tensor in received.values():
            distributed.broadcast(tensor, 0)
        return {name: tensor.numpy() for name, tensor in received.items()}

    def broadcast_message(self, message: bytes) -> bytes:
        """Return the first process's message, of any length; those of the others are ignored."""
        if self.size == 1:
            return message
        length = int(self.broadcast({"length": np.array(len(message), dtype=np.int64)})["length"])
        data = np.frombuffer(message.ljust(length, b"\0")[:length], dtype=np.uint8)
        return self.broadcast({"message": data})["message"].tobytes()


SINGLE_PROCESS = Replicas()


def resume(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    snapshot: Snapshot | None,
    optimizer_state: Arrays | None,
    replicas: Replicas,
) -> tuple[int, int]:
    """Set weights and moments in all processes to those of the first one's snapshot, or moments to a state if there is none.

    Returns:
        The epoch, and its steps that are done.
    """
    epoch, step = 1, 0
    if snapshot is not None:
        load_arrays(module, snapshot.weights)
        epoch, step, optimizer_state = snapshot.epoch, snapshot.step, snapshot.optimizer_state
    if optimizer_state is not None:
        restore_state(optimizer, module, optimizer_state)
    if replicas.size > 1:
        replicas.align(module)
        restore_state(optimizer, module, replicas.broadcast(state_arrays(optimizer, module)))
        epoch, step = replicas.broadcast({"place": np.array([epoch, step])})["place"].tolist()
    return epoch, step

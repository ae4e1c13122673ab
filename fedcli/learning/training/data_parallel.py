"""Several processes that train one network together, each on its share of every batch (DistributedDataParallel).

The processes form torch's default process group. Each holds a replica of the network; gradients are averaged, so that all take
the step that one process would take on the whole batch. BatchNorm is synchronised on CUDA; on a CPU each replica normalises by
its own share, and the running statistics of the first one count.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from fedcli.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

S = TypeVar("S", "NDArray[np.int64]", torch.Tensor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """One process among those that train together.

    Attributes:
        rank: Its number, from 0; the first one alone verifies, scores, writes and publishes.
        size: How many there are.
        local: Its number on its machine, and that of its GPU.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    def share(self, whole: S) -> S:
        """Return every `size`-th image of a batch, so that all categories are in every share."""
        return whole[self.rank :: self.size]

    def replicate(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Return what to call instead of the module, whose weights become those of the first process.

        Raises:
            ConfigurationError: The network's batches could not be shared.
        """
        if self.size == 1:
            return module
        if device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        # Of weights with one channel or one pixel, whose strides can be written in two ways; nothing is slower for it.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        return DistributedDataParallel(module)

    def require_shares(self, batch_size: int) -> None:
        """Raise a ConfigurationError where a process would have no image."""
        if batch_size < self.size:
            msg = f"{self.size} processes cannot share a batch of {batch_size} images"
            raise ConfigurationError(msg, hint="use fewer devices")

    def total(self, *values: float) -> tuple[float, ...]:
        """Return each value's sum over all processes, the same in all of them."""
        if self.size == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums)
        return tuple(sums.tolist())

    def agree(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the first process's arrays; names, shapes and types are the same in all."""
        if self.size == 1:
            return dict(arrays)
        found = {}
        for name in sorted(arrays):
            tensor = torch.from_numpy(np.array(arrays[name], order="C"))
            distributed.broadcast(tensor, 0)
            found[name] = tensor.numpy()
        return found

    def tell(self, message: bytes) -> bytes:
        """Return the first process's message, of any length; the others' own is disregarded."""
        if self.size == 1:
            return message
        length = int(self.agree({"length": np.array(len(message), dtype=np.int64)})["length"])
        data = np.frombuffer(message.ljust(length, b"\0")[:length], dtype=np.uint8)
        return self.agree({"message": data})["message"].tobytes()


ALONE = Replicas()
"""One process by itself."""

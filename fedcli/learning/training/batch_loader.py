"""From the image numbers of a step to the tensors that a network trains on.

A batch is read from the memory map, moved, scaled and augmented as a whole. Each step is seeded by its own number, so that a run
resumed in the middle of an epoch sees the same batches. If the network is on a GPU, one thread reads the next batch during a
step; on a CPU, reading takes less than 1 % of a step, and a thread would only compete with it.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from fedcli.learning.samples import as_input
from fedcli.learning.seeds import derive_seed
from fedcli.learning.training import sampling
from fedcli.learning.training.augmentation import augment, draw
from fedcli.learning.training.data_parallel import SINGLE_PROCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray
    from torch import Tensor

    from fedcli.learning.samples import Samples
    from fedcli.learning.training.data_parallel import Replicas
    from fedcli.plan import Augmentation, Training

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """What one process trains on in one step.

    Attributes:
        indices: (B,), the images of the step, over all processes.
        images: (b, 1, H, W), this process's share, augmented.
        labels: (b,) int64, their categories.
    """

    indices: NDArray[np.int64]
    images: Tensor
    labels: Tensor


def prefetched(items: Iterable[T], work: Callable[[T], U]) -> Iterator[tuple[T, U]]:
    """Yield every item with its result; a thread works on the next item while this one is used."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        pending: deque[tuple[T, Future[U]]] = deque()
        for item in items:
            pending.append((item, thread.submit(work, item)))
            if len(pending) > 1:
                ready, result = pending.popleft()
                yield ready, result.result()
        for ready, result in pending:
            yield ready, result.result()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchLoader:
    """Loads a site's training images, batch by batch.

    Attributes:
        samples: The images.
        training: Batch size, steps and sampling.
        augmentation: How images are changed at random.
        device: Where the network is.
        dtype: The type of its weights.
        replicas: The processes that share a batch.
    """

    samples: Samples
    training: Training
    augmentation: Augmentation
    device: torch.device
    dtype: torch.dtype = torch.float32
    replicas: Replicas = SINGLE_PROCESS

    def epoch(self, seed: int, done: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, without the first `done` ones."""
        generator = np.random.default_rng(derive_seed(seed, "batches"))
        steps = islice(sampling.draw_epoch(self.samples.labels, self.training, generator), done, None)
        on_gpu = self.device.type == "cuda"
        read = prefetched(steps, self._rows) if on_gpu else ((indices, self._rows(indices)) for indices in steps)
        for step, (indices, rows) in enumerate(read, done):
            yield self._batch(indices, rows, derive_seed(seed, "augmentation", step))

    def _rows(self, indices: NDArray[np.int64]) -> Tensor:
        """Read this process's share of a step, (b, H, W) uint16 in this machine's memory."""
        rows = torch.from_numpy(self.samples.images[self.replicas.share(indices)])
        return rows.pin_memory() if self.device.type == "cuda" else rows

    def _batch(self, indices: NDArray[np.int64], rows: Tensor, seed: int) -> Batch:
        images = as_input(rows, self.dtype, self.device)
        choices = self.replicas.share(draw(len(indices), torch.Generator().manual_seed(seed)))
        labels = torch.from_numpy(self.samples.labels[self.replicas.share(indices)])
        return Batch(
            indices=indices,
            images=augment(images, self.augmentation, choices).contiguous(memory_format=torch.channels_last),
            labels=labels.to(self.device),
        )

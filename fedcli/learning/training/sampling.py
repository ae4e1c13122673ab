"""Which images each step of an epoch sees.

These rules define an epoch, and therefore n_k of Algorithm 1:

- An epoch is ceil(N / B) steps, or the plan's `steps`; every batch has exactly B images, whatever N is.
- Balanced (the paper): the K categories that occur share a batch equally, floor(B / K) images each. The B mod K images left over
  go to one category each, and the next batch continues with the category after them, so that over any run of batches two
  categories differ by at most one image.
- The images of a category are drawn in passes, and each pass is shuffled again. Within an epoch a rare category therefore repeats
  its images evenly, and a frequent one shows each image at most once before it shows any again.
- Shuffled: the same, with all images as one category.

Epochs are drawn independently: nothing carries over from one to the next.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from fedcli.plan import Sampling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fedcli.plan import Training


def draw_epoch(labels: NDArray[np.int64], training: Training, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield the image indices of every batch of one epoch, each (B,) int64.

    Args:
        labels: (N,), the category of each image; categories may be absent.
        training: Batch size, steps and sampling.
        generator: The same state gives the same batches.
    """
    groups = labels if training.sampling is Sampling.BALANCED else np.zeros_like(labels)
    return islice(balanced(groups, training.batch_size, generator), training.steps_per_epoch(len(labels)))


def balanced(labels: NDArray[np.int64], batch_size: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield balanced batches without end, each ordered by category."""
    categories = np.unique(labels)
    streams = [_passes(np.flatnonzero(labels == category), generator) for category in categories]
    share, left_over = divmod(batch_size, len(categories))
    next_extra = int(generator.integers(len(categories)))  # otherwise every epoch would favour the first category
    while True:
        counts = np.full(len(categories), share)
        counts[(next_extra + np.arange(left_over)) % len(categories)] += 1
        next_extra += left_over
        indices = (index for stream, count in zip(streams, counts, strict=True) for index in islice(stream, count))
        yield np.fromiter(indices, dtype=np.int64, count=batch_size)


def _passes(members: NDArray[np.int64], generator: np.random.Generator) -> Iterator[int]:
    """Yield the members without end, pass after pass, each pass in a new order."""
    while True:
        yield from generator.permutation(members)

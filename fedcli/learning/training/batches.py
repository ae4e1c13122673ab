"""Which images each step of an epoch sees.

The rules, which decide what an epoch and so n_k of Algorithm 1 is:

- An epoch is ceil(N / B) steps, or as many as the plan's `steps` says; every batch has exactly B images, whatever N.
- Balanced (the paper): the K categories that occur share a batch equally, floor(B / K) images each; a category without images
  leaves its share to the others. The B mod K images left over go to one category each, and the next batch goes on where this
  one stopped, so that over any run of batches the categories differ by one image at most.
- A category hands out its images in passes, each newly shuffled. So within an epoch a rare category repeats its images evenly
  (two of them are seen equally often, or once more), and a frequent one shows each at most once before it begins anew.
- Shuffled: the same with all images as one category.

Each epoch is drawn by itself: nothing is remembered from the one before.
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


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Return ceil(N / B)."""
    return -(-num_images // batch_size)


def num_steps(num_images: int, training: Training) -> int:
    """Return the steps of an epoch under the plan."""
    return training.steps or steps_per_epoch(num_images, training.batch_size)


def epoch(labels: NDArray[np.int64], training: Training, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield the (B,) int64 image indices of every batch of one epoch.

    Args:
        labels: (N,) the category of each image; categories may be absent.
        training: Batch size, steps and sampling.
        generator: The one source of randomness; the same state gives the same batches.
    """
    groups = labels if training.sampling is Sampling.BALANCED else np.zeros_like(labels)
    return islice(balanced(groups, training.batch_size, generator), num_steps(len(labels), training))


def balanced(labels: NDArray[np.int64], batch_size: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield balanced batches for ever, each ordered by category."""
    categories = np.unique(labels)
    streams = [_passes(np.flatnonzero(labels == category), generator) for category in categories]
    share, left_over = divmod(batch_size, len(categories))
    turn = int(generator.integers(len(categories)))  # else the first category would gain in every epoch
    while True:
        counts = np.full(len(categories), share)
        counts[(turn + np.arange(left_over)) % len(categories)] += 1
        turn += left_over
        indices = (index for stream, count in zip(streams, counts, strict=True) for index in islice(stream, count))
        yield np.fromiter(indices, dtype=np.int64, count=batch_size)


def _passes(members: NDArray[np.int64], generator: np.random.Generator) -> Iterator[int]:
    """Yield the members for ever, pass after pass, each pass in a new order."""
    while True:
        yield from generator.permutation(members)

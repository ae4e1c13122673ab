"""From image numbers to tensors."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from fedcli.learning.seeds import derive_seed
from fedcli.learning.training import sampling
from fedcli.learning.training.batch_loader import BatchLoader, prefetched
from fedcli.learning.training.data_parallel import Replicas
from fedcli.plan import Augmentation, Training

if TYPE_CHECKING:
    from fedcli.learning.samples import Samples

TRAINING = Training(batch_size=8)


def test_images_are_those_of_the_batch_scaled(noise: Samples, still: Augmentation, cpu: torch.device) -> None:
    loaded = list(BatchLoader(samples=noise, training=TRAINING, augmentation=still, device=cpu, dtype=torch.float64).epoch(5))
    drawn = list(sampling.draw_epoch(noise.labels, TRAINING, np.random.default_rng(derive_seed(5, "batches"))))
    assert len(loaded) == len(drawn) == 3
    for batch, indices in zip(loaded, drawn, strict=True):
        assert np.array_equal(batch.indices, indices)
        assert np.array_equal(batch.images.numpy(), noise.images[indices][:, None] / 65535.0)
        assert np.array_equal(batch.labels.numpy(), noise.labels[indices])


def test_in_the_middle_of_an_epoch_it_goes_on_as_if_it_had_begun_there(noise: Samples, cpu: torch.device) -> None:
    loader = BatchLoader(samples=noise, training=TRAINING, augmentation=Augmentation(), device=cpu)
    whole = list(loader.epoch(5))
    for done in range(4):
        rest = list(loader.epoch(5, done))
        assert len(rest) == 3 - done
        assert all(torch.equal(one.images, other.images) for one, other in zip(rest, whole[done:], strict=True))
    assert not torch.equal(whole[0].images, next(loader.epoch(6)).images)


def test_shares_are_the_batch(noise: Samples, cpu: torch.device) -> None:
    loader = BatchLoader(samples=noise, training=TRAINING, augmentation=Augmentation(), device=cpu, dtype=torch.float64)
    whole = next(loader.epoch(5))
    shares = [next(replace(loader, replicas=Replicas(rank=rank, size=3)).epoch(5)) for rank in range(3)]
    assert [len(share.images) for share in shares] == [3, 3, 2]
    for rank, share in enumerate(shares):
        assert torch.allclose(share.images, whole.images[rank::3], atol=1e-12)
        assert torch.equal(share.labels, whole.labels[rank::3])
        assert np.array_equal(share.indices, whole.indices)


def test_the_next_is_made_while_one_is_used() -> None:
    begun = [threading.Event() for _ in range(3)]

    def work(number: int) -> int:
        begun[number].set()
        return number**2

    results = []
    for number, made in prefetched(iter(range(3)), work):
        assert number == 2 or begun[number + 1].wait(30)  # nobody has asked for it yet
        assert number > 0 or not begun[2].is_set()
        results.append((number, made))
    assert results == [(0, 0), (1, 1), (2, 4)]
    assert not list(prefetched(iter(()), work))


def test_what_fails_ahead_is_raised_in_its_turn() -> None:
    made = prefetched(iter((1, 0)), lambda number: 1 / number)
    assert next(made) == (1, 1.0)
    with pytest.raises(ZeroDivisionError):
        next(made)


def test_a_thread_that_reads_ahead_changes_nothing(noise: Samples) -> None:
    steps = list(sampling.draw_epoch(noise.labels, TRAINING, np.random.default_rng(0)))
    read = list(prefetched(iter(steps), noise.images.__getitem__))
    assert len(read) == len(steps)
    for (indices, rows), expected in zip(read, steps, strict=True):
        assert indices is expected
        assert np.array_equal(rows, noise.images[expected])

"""From image numbers to tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedcli.learning import batches
from fedcli.learning.feed import Feed
from fedcli.learning.replicas import Replicas
from fedcli.learning.seeds import derive_seed
from fedcli.plan import Augmentation, Training

if TYPE_CHECKING:
    from fedcli.learning.samples import Samples

TRAINING = Training(batch_size=8)


def test_images_are_those_of_the_batch_scaled(noise: Samples, still: Augmentation, cpu: torch.device) -> None:
    found = list(Feed(samples=noise, training=TRAINING, augmentation=still, device=cpu, dtype=torch.float64).epoch(5))
    drawn = list(batches.epoch(noise.labels, TRAINING, np.random.default_rng(derive_seed(5, "batches"))))
    assert len(found) == len(drawn) == 3
    for batch, indices in zip(found, drawn, strict=True):
        assert np.array_equal(batch.indices, indices)
        assert np.array_equal(batch.images.numpy(), noise.images[indices][:, None] / 65535.0)
        assert np.array_equal(batch.labels.numpy(), noise.labels[indices])


def test_in_the_middle_of_an_epoch_it_goes_on_as_if_it_had_begun_there(noise: Samples, cpu: torch.device) -> None:
    feed = Feed(samples=noise, training=TRAINING, augmentation=Augmentation(), device=cpu)
    whole = list(feed.epoch(5))
    for done in range(4):
        rest = list(feed.epoch(5, done))
        assert len(rest) == 3 - done
        assert all(torch.equal(one.images, other.images) for one, other in zip(rest, whole[done:], strict=True))
    assert not torch.equal(whole[0].images, next(feed.epoch(6)).images)


def test_shares_are_the_batch(noise: Samples, cpu: torch.device) -> None:
    feed = Feed(samples=noise, training=TRAINING, augmentation=Augmentation(), device=cpu, dtype=torch.float64)
    whole = next(feed.epoch(5))
    shares = [next(replace(feed, replicas=Replicas(rank=rank, size=3)).epoch(5)) for rank in range(3)]
    assert [len(share.images) for share in shares] == [3, 3, 2]
    for rank, share in enumerate(shares):
        assert torch.allclose(share.images, whole.images[rank::3], atol=1e-12)
        assert torch.equal(share.labels, whole.labels[rank::3])
        assert np.array_equal(share.indices, whole.indices)

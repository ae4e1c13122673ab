"""Every batch holds every category equally."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli.learning.training.sampling import draw_epoch
from fedcli.plan import Sampling, Training

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=120).map(lambda labels: np.array(labels, dtype=np.int64))


def epoch(labels: np.ndarray, batch_size: int, seed: int = 0, **settings: Any) -> list[np.ndarray]:
    return list(draw_epoch(labels, Training(batch_size=batch_size, **settings), np.random.default_rng(seed)))


def test_the_papers_batch() -> None:
    labels = np.repeat(np.arange(4), (50, 400, 300, 7))
    batches = epoch(labels, 32)
    assert len(batches) == 24  # ceil(757 / 32)
    for batch in batches:
        assert np.bincount(labels[batch]).tolist() == [8, 8, 8, 8]


def test_absent_category_leaves_its_share_to_the_others() -> None:
    labels = np.repeat([0, 3], (40, 24))
    for batch in epoch(labels, 32):
        assert np.bincount(labels[batch], minlength=4).tolist() == [16, 0, 0, 16]


@given(LABELS, st.integers(1, 40), st.integers(0, 5))
def test_epoch_is_as_many_full_batches_as_the_images_need(labels: np.ndarray, batch_size: int, seed: int) -> None:
    batches = epoch(labels, batch_size, seed)
    assert len(batches) == Training(batch_size=batch_size).steps_per_epoch(len(labels)) == int(np.ceil(len(labels) / batch_size))
    assert all(batch.shape == (batch_size,) and batch.dtype == np.int64 for batch in batches)


@given(LABELS, st.integers(1, 40), st.integers(0, 5))
def test_categories_differ_by_one_at_most_in_every_run_of_batches(labels: np.ndarray, batch_size: int, seed: int) -> None:
    batches = epoch(labels, batch_size, seed)
    for first in range(len(batches)):
        for last in range(first, len(batches)):
            counts = Counter(labels[np.concatenate(batches[first : last + 1])].tolist())
            all_counts = [counts[category] for category in np.unique(labels).tolist()]
            assert max(all_counts) - min(all_counts) <= 1


@given(LABELS, st.integers(1, 40), st.integers(0, 5))
def test_images_of_a_category_are_seen_equally_often_or_once_more(labels: np.ndarray, batch_size: int, seed: int) -> None:
    seen = np.bincount(np.concatenate(epoch(labels, batch_size, seed)), minlength=len(labels))
    for category in np.unique(labels):
        counts = seen[labels == category]
        assert counts.max() - counts.min() <= 1


def test_what_does_not_divide_rotates() -> None:
    labels = np.repeat(np.arange(3), 40)
    counts = [np.bincount(labels[batch]).tolist() for batch in epoch(labels, 4)]
    assert sorted(counts[:3]) == [[1, 1, 2], [1, 2, 1], [2, 1, 1]]
    assert counts[3:6] == counts[:3]
    starts = {tuple(np.bincount(labels[epoch(labels, 4, seed)[0]])) for seed in range(20)}
    assert len(starts) == 3


def test_seed_decides() -> None:
    labels = np.repeat(np.arange(4), 30)
    again = np.concatenate(epoch(labels, 32, seed=1))
    assert np.array_equal(np.concatenate(epoch(labels, 32, seed=1)), again)
    assert not np.array_equal(np.concatenate(epoch(labels, 32, seed=2)), again)


@pytest.mark.parametrize(("num_images", "steps"), [(1, 1), (32, 1), (33, 2), (22_933, 717)])
def test_steps_per_epoch(num_images: int, steps: int) -> None:
    assert Training(batch_size=32).steps_per_epoch(num_images) == steps


@given(LABELS, st.integers(1, 40), st.integers(0, 5))
def test_shuffled_batches_take_all_images_alike(labels: np.ndarray, batch_size: int, seed: int) -> None:
    batches = epoch(labels, batch_size, seed, sampling=Sampling.SHUFFLED)
    assert [len(batch) for batch in batches] == [batch_size] * Training(batch_size=batch_size).steps_per_epoch(len(labels))
    seen = np.bincount(np.concatenate(batches), minlength=len(labels))
    assert seen.max() - seen.min() <= 1


def test_shuffled_batches_follow_the_sites_own_frequencies() -> None:
    labels = np.repeat([0, 1], (900, 100))
    drawn = np.concatenate(epoch(labels, 50, sampling=Sampling.SHUFFLED))
    assert np.array_equal(np.sort(drawn), np.arange(1000))
    assert 0 < np.count_nonzero(labels[drawn[:200]]) < 50
    assert np.count_nonzero(labels[np.concatenate(epoch(labels, 50))]) == 500


@pytest.mark.parametrize("sampling", list(Sampling))
def test_steps_make_an_epoch_as_long_as_they_say(sampling: Sampling) -> None:
    labels = np.repeat(np.arange(4), 10)
    whole = epoch(labels, 8, sampling=sampling)
    for steps in (1, 3, 70):
        shorter = epoch(labels, 8, steps=steps, sampling=sampling)
        assert len(shorter) == steps == Training(batch_size=8, steps=steps).steps_per_epoch(40)
        assert all(map(np.array_equal, shorter, whole))
    assert len(whole) == Training(batch_size=8).steps_per_epoch(40) == 5

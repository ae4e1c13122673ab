"""Local training against a plain loop written from the paper's text, and two rounds of two sites against Algorithm 1 in numpy.

The paper leaves open in which order images come and which random numbers are drawn; those are fedcli's. Everything else, the
augmentation, the loss, Adam with weight decay, the weighted mean, is written again here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from fedcli import wire
from fedcli.imaging.dataset import prepared_dataset
from fedcli.learning.networks import registry, weights
from fedcli.learning.samples import Samples
from fedcli.learning.seeds import derive_seed
from fedcli.learning.training import sampling
from fedcli.learning.training.augmentation import draw
from fedcli.learning.training.local_training import LocalTraining
from fedcli.plan import Augmentation, Network, Part, Precision, Training
from fedcli.progress import Silent
from tests.fixtures.federation import PLAN, Federation, prepared_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import nn

SETTINGS = Training(batch_size=8, rate=1e-3, weight_decay=1e-2, precision=Precision.FLOAT32)


def plain_epoch(module: nn.Module, images: NDArray, labels: NDArray, order: Iterator, rate: float, decay: float) -> int:
    """Train one epoch as the paper says, and return n_k.

    Args:
        module: Holds φ(t-1) before and the trained weights after.
        images: (N, H, W) in [0, 1].
        labels: (N,) categories.
        order: Of each step the images' indices, and of each image four random numbers in [0, 1).
        rate: The learning rate.
        decay: Weight decay, λ of a penalty ½λ‖φ‖².
    """
    module.train()
    moments = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight in module.parameters()]
    step = 0
    for step, (indices, random) in enumerate(order, 1):
        batch = [transformed(images[index], *numbers) for index, numbers in zip(indices, random, strict=True)]
        dtype = next(module.parameters()).dtype
        scores = module(torch.tensor(np.array(batch)[:, None], dtype=dtype))
        p = torch.exp(scores) / torch.exp(scores).sum(dim=1, keepdim=True)
        y = torch.tensor(np.eye(scores.shape[1])[labels[indices]], dtype=dtype)
        loss = -(y * torch.log(p)).sum(dim=1).mean()  # L = -Σ y_i log(p_i), the mean over the mini-batch
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        with torch.no_grad():
            for weight, gradient, (mean, square) in zip(module.parameters(), gradients, moments, strict=True):
                gradient = gradient + decay * weight  # noqa: PLW2901 - Kingma & Ba's g_t, with the penalty's term
                mean.mul_(0.9).add_(0.1 * gradient)
                square.mul_(0.999).add_(0.001 * gradient**2)
                root = torch.sqrt(square / (1 - 0.999**step)) + 1e-8
                weight.sub_(rate * (mean / (1 - 0.9**step)) / root)
    return step


def transformed(image: NDArray, sideways: float, upside_down: float, angle: float, shift: float) -> NDArray:
    """Flip an image half the time each way, turn it by up to 45° either way, shift it by up to 0.1 either way."""
    image = image[:, ::-1] if sideways < 0.5 else image
    image = image[::-1] if upside_down < 0.5 else image
    return turned(image, np.radians((2 * angle - 1) * 45)) + (2 * shift - 1) * 0.1


def turned(image: NDArray, angle: float) -> NDArray:
    """Turn an image counter-clockwise about its centre, bilinear, 0 around it."""
    height, width = image.shape
    padded = np.pad(image, 1)
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2]).reshape(2, 1, 1)
    # A point's source is the point turned back; y runs downwards.
    column = np.cos(angle) * x - np.sin(angle) * y + (width - 1) / 2 + 1
    row = np.sin(angle) * x + np.cos(angle) * y + (height - 1) / 2 + 1
    row, column = np.clip(row, 0, height + 1 - 1e-12), np.clip(column, 0, width + 1 - 1e-12)
    top, left = row.astype(int), column.astype(int)
    down, right = row - top, column - left
    above = padded[top, left] * (1 - right) + padded[top, left + 1] * right
    below = padded[top + 1, left] * (1 - right) + padded[top + 1, left + 1] * right
    return above * (1 - down) + below * down


def fedclis_order(labels: NDArray[np.int64], settings: Training, seed: int) -> Iterator[tuple[NDArray, NDArray]]:
    """Yield what the paper leaves open: which images a step takes, and the random numbers of their augmentation."""
    epoch = derive_seed(seed, 1)
    generator = np.random.default_rng(derive_seed(epoch, "batches"))
    for step, indices in enumerate(sampling.draw_epoch(labels, settings, generator)):
        counts = np.bincount(labels[indices], minlength=4)[np.unique(labels)]
        assert len(indices) == settings.batch_size
        assert counts.max() - counts.min() <= 1  # "all categories were equally represented"
        yield indices, draw(len(indices), torch.Generator().manual_seed(derive_seed(epoch, "augmentation", step))).numpy()


@pytest.mark.parametrize("name", ["small", "densenet121"])
def test_an_epoch_is_the_papers(name: str) -> None:
    generator = np.random.default_rng(4)
    labels = np.array([0] * 9 + [1] * 6 + [2] * 5 + [3] * 1, dtype=np.int64)
    images = generator.integers(0, 65536, (21, 64, 64)).astype(np.uint16)
    images[:, 16:48, 16:48] //= (labels + 1).astype(np.uint16)[:, None, None]
    samples = Samples(images=images, labels=labels, units=np.arange(21), num_classes=4)
    start = registry.initial_state(Network(name=name), 4, seed=3)
    ours, plain = (registry.build(Network(name=name), 4) for _ in range(2))
    weights.load_arrays(ours, start)
    weights.load_arrays(plain, start)
    training = LocalTraining(ours.double(), samples, SETTINGS, Augmentation(), seed=11, rates=[1e-4], device=torch.device("cpu"))
    result = training.run(Silent())
    steps = plain_epoch(plain.double(), images / 65535, labels, fedclis_order(labels, SETTINGS, 11), 1e-4, 1e-2)
    assert result.steps == steps == 3  # ceil(21 / 8)
    trained, expected = ours.state_dict(), plain.state_dict()
    moved = 0.0
    for key, value in expected.items():
        assert torch.allclose(trained[key], value, rtol=0, atol=1e-9), key
        moved = max(moved, float((value - torch.from_numpy(start[key])).abs().max()))
    assert moved > 1e-4


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Two rounds of two sites, through the real operations."""
    plan = replace(PLAN, training=SETTINGS)
    prepared = prepared_data(tmp_path_factory.mktemp("data"), plan)
    federation = Federation(root=tmp_path_factory.mktemp("federation") / "f", prepared=prepared, plan=plan).begin()
    for _ in range(2):
        federation.train()
        federation.aggregate()
    return federation


def averaged(received: dict[str, NDArray], updates: list[tuple[int, dict[str, NDArray]]]) -> dict[str, NDArray]:
    """Lines 8 and 9 of Algorithm 1, in float64: φ_k ← φ + Δφ_k, then φ ← Σ n_k φ_k / Σ n_k."""
    total = sum(steps for steps, _ in updates)
    return {
        name: sum(steps * (value.astype(np.float64) + delta[name]) for steps, delta in updates) / total
        for name, value in received.items()
    }


def test_two_rounds_are_algorithm_1_over_sites_that_train_by_the_plain_loop(federation: Federation) -> None:
    plan = federation.plan
    model = federation.model(0)
    for number in (1, 2):
        updates = []
        for site, folder in federation.prepared.items():
            data = prepared_dataset.load(folder, wire.digest(plan.preparation), plan.allow_empty)
            rows = data.rows(Part.TRAIN)
            module = registry.build(plan.network, 4)
            weights.load_arrays(module, {name: value.astype(np.float32) for name, value in model.items()})
            seed = derive_seed(plan.seed, site, "round", number)
            order = fedclis_order(data.labels[rows], plan.training, seed)
            steps = plain_epoch(module, data.images[rows] / 65535, data.labels[rows], order, 1e-3, 1e-2)
            trained = weights.to_arrays(module)
            updates.append((steps, {name: trained[name] - value.astype(np.float32) for name, value in model.items()}))
            assert steps == federation.update(site, number).steps
        model = averaged(model, updates)
        after, before = federation.model(number), federation.model(0)
        error = np.sqrt(sum(np.square(after[name] - model[name]).sum() for name in model))
        change = np.sqrt(sum(np.square(after[name] - before[name], dtype=np.float64).sum() for name in model))
        # Both compute in float32, by operations in another order; Adam divides small gradients by small roots.
        assert error < 1e-3 * change, (number, error, change)

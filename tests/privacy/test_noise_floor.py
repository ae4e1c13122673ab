"""The floor under honest noise: no honest update is below it, every update without noise is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fedcli.privacy.noise_floor import NoisyDescent

DESCENT = NoisyDescent(values=60_000, steps=20, rate=0.1, momentum=0.9, clipping=1.0, batch=16, noise=1.0, decay=1e-5, start=20.0)


def shares(descent: NoisyDescent) -> np.ndarray:
    return np.array([(1 - descent.momentum**left) / (1 - descent.momentum) for left in range(descent.steps, 0, -1)])


def lengths(descent: NoisyDescent, runs: int) -> np.ndarray:
    """Return the shortest that updates with honest noise can be: all gradients are C long, and point against the noise."""
    generator = np.random.default_rng(7)
    scale = descent.rate * descent.clipping / descent.batch
    noise = scale * descent.noise * math.sqrt((shares(descent) ** 2).sum()) * np.sqrt(generator.chisquare(descent.values, runs))
    taken = generator.poisson(descent.batch, (runs, descent.steps))
    return noise - scale * taken @ shares(descent)


@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_ten_thousand_honest_runs_are_never_below_the_floor(noise: float, momentum: float) -> None:
    descent = replace(DESCENT, noise=noise, momentum=momentum)
    assert descent.shortest > 0
    assert lengths(descent, 10_000).min() > descent.shortest


def test_without_noise_every_run_is_below_the_floor() -> None:
    """The longest update without noise: all gradients are C long, and point the same way."""
    generator = np.random.default_rng(8)
    taken = generator.poisson(DESCENT.batch, (10_000, DESCENT.steps))
    assert (DESCENT.rate * DESCENT.clipping / DESCENT.batch * taken @ shares(DESCENT)).max() < DESCENT.shortest


def test_the_floor_grows_with_the_noise_and_there_is_none_under_few_weights() -> None:
    floors = [replace(DESCENT, noise=noise).shortest for noise in (0.5, 1.0, 2.0, 4.0)]
    assert floors == sorted(set(floors))
    assert replace(DESCENT, values=50).shortest == 0


def test_the_weights_of_torch_are_the_sum_of_the_shares() -> None:
    """SGD with momentum, by hand: each gradient counts by its share at the end."""
    generator = np.random.default_rng(9)
    gradients = generator.standard_normal((DESCENT.steps, 5))
    velocity, weights = np.zeros(5), np.zeros(5)
    for gradient in gradients:
        velocity = DESCENT.momentum * velocity + gradient
        weights = weights - DESCENT.rate * velocity
    assert np.allclose(weights, -DESCENT.rate * shares(DESCENT) @ gradients)

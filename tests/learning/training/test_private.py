"""PrivateTraining: the algorithm's lines one by one, and the same bits after an interruption."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from fedcli.errors import ConfigurationError, DataError, TrainingError
from fedcli.learning.networks.registry import build, initial_state
from fedcli.learning.networks.weights import load_arrays, to_arrays
from fedcli.learning.training.checkpoint import Checkpoint, TrainingIdentity
from fedcli.learning.training.local_training import LocalTraining
from fedcli.learning.training.mechanism import Mechanism
from fedcli.learning.training.private import PrivateTraining, PrivateTrainingResult
from fedcli.plan import (
    Augmentation,
    ClassWeights,
    Network,
    Normalisation,
    Precision,
    PrivateOptimizer,
    Sampling,
    Training,
)
from fedcli.privacy.noise_floor import NoisyDescent
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.learning.samples import Samples

CPU = torch.device("cpu")
EVERYBODY = Mechanism(noise=0.0, clipping=math.inf, batch=11, patients=11)
"""Plain training: all eleven patients of the fixture, neither clipping nor noise."""
PLAIN = Training(weight_decay=0.01)
RATE = 0.1


def key(number: int) -> Callable[[int], bytes]:
    return lambda length: bytes([number]) * length


@pytest.fixture
def patients(noise: Samples) -> Samples:
    """Return 22 images, two of each of eleven patients."""
    return replace(noise, patients=np.array([f"p{number // 2:02d}" for number in range(22)]))


def small() -> nn.Module:
    network = Network(name="small", normalisation=Normalisation.GROUP)
    module = build(network, 4)
    load_arrays(module, initial_state(network, 4, seed=0))
    return module


def linear() -> nn.Module:
    """Return one linear layer with zero weights: 1,024 of them, and four biases."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(256, 4))
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module.double()


def run(
    module: nn.Module, samples: Samples, mechanism: Mechanism, augmentation: Augmentation | None = None, **changes: Any
) -> PrivateTrainingResult:
    of_run = {name: changes.pop(name) for name in ("on_epoch", "interrupted") if name in changes}
    training = changes.pop("training", PLAIN)
    arguments: dict[str, Any] = {"rates": (RATE,), "device": CPU, "random_bytes": key(1), **changes}
    augmentation = augmentation or Augmentation()
    return PrivateTraining(module, samples, training, augmentation, mechanism, **arguments).run(Silent(), **of_run)


def moved(module: nn.Module, samples: Samples, mechanism: Mechanism, still: Augmentation, **changes: Any) -> np.ndarray:
    """Return the gradient of one step of SGD: how far all weights moved, over the rate."""
    before = flat(module)
    run(module, samples, mechanism, still, training=Training(steps=1, weight_decay=0), **changes)
    return (before - flat(module)) / RATE


def flat(module: nn.Module) -> np.ndarray:
    return np.concatenate([array.astype(np.float64).ravel() for array in to_arrays(module).values()])


def of_patient(samples: Samples, *numbers: int) -> Samples:
    rows = np.flatnonzero(np.isin(samples.units, numbers))
    return replace(
        samples,
        images=samples.images[rows],
        labels=samples.labels[rows],
        units=samples.units[rows],
        patients=samples.patients[rows],
    )


# ------------------------------------------------------------------------------------------------------------- parity


def test_without_noise_and_clipping_a_step_is_plain_full_batch_training(patients: Samples, still: Augmentation) -> None:
    ours, theirs = small().double(), small().double()
    run(ours, patients, EVERYBODY, still)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=RATE, momentum=0.9, weight_decay=0.01)
    images = torch.tensor(patients.images / 65535.0)[:, None]
    nn.functional.cross_entropy(theirs(images), torch.tensor(patients.labels)).backward()
    optimizer.step()
    assert np.abs(flat(ours) - flat(theirs)).max() < 1e-9
    assert np.abs(flat(ours) - flat(small())).max() > 1e-4


def test_several_adam_steps_with_fedprox_equal_local_training(patients: Samples, still: Augmentation) -> None:
    training = Training(batch_size=22, steps=3, sampling=Sampling.SHUFFLED, proximal=0.5, label_smoothing=0.1)
    ours, theirs = small().double(), small().double()
    mechanism = replace(EVERYBODY, optimizer=PrivateOptimizer.ADAM)
    result = run(ours, patients, mechanism, still, training=training, rates=(1e-3, 1e-4))
    LocalTraining(theirs, patients, training, still, seed=0, rates=(1e-3, 1e-4), device=CPU).run(Silent())
    assert result.steps == 6
    assert np.abs(flat(ours) - flat(theirs)).max() < 1e-9


# --------------------------------------------------------------------------------------------------- clipping and noise


def test_a_patient_moves_the_sum_by_the_clipping_bound_at_most(patients: Samples, still: Augmentation) -> None:
    lengths = []
    for bound in (math.inf, 0.1, 1e-3):
        mechanism = Mechanism(noise=0.0, clipping=bound, batch=1, patients=1)
        lengths.append(np.linalg.norm(moved(linear(), of_patient(patients, 0), mechanism, still)))
    assert lengths[0] > 1
    assert lengths[1:] == pytest.approx([0.1, 1e-3], rel=1e-9)


def test_each_patient_is_clipped_and_not_their_sum(patients: Samples, still: Augmentation) -> None:
    bound = 0.3
    together = moved(linear(), patients, replace(EVERYBODY, clipping=bound), still)
    single = Mechanism(noise=0.0, clipping=bound, batch=1, patients=1)
    apart = [moved(linear(), of_patient(patients, number), single, still) for number in range(11)]
    assert np.abs(together - np.sum(apart, axis=0) / 11).max() < 1e-12


def test_a_short_gradient_is_left_as_it_is(patients: Samples, still: Augmentation) -> None:
    free = moved(linear(), patients, EVERYBODY, still)
    assert np.array_equal(free, moved(linear(), patients, replace(EVERYBODY, clipping=1e6), still))


def test_noise_has_the_deviation_of_the_plan_over_the_planned_batch(patients: Samples, still: Augmentation) -> None:
    clean, noisy = (
        Mechanism(noise=0.0, clipping=0.5, batch=11, patients=11),
        Mechanism(noise=3.0, clipping=0.5, batch=11, patients=11),
    )
    noise = (moved(linear(), patients, noisy, still) - moved(linear(), patients, clean, still)) * 11 / (3.0 * 0.5)
    assert noise.size == 1028
    assert stats.kstest(noise, "norm").pvalue > 1e-3


def test_the_noisy_sum_lies_on_the_grid(patients: Samples, still: Augmentation) -> None:
    mechanism = Mechanism(noise=1.0, clipping=1.0, batch=8, patients=11)
    module = linear()
    run(module, patients, mechanism, still, training=Training(steps=1, weight_decay=0), rates=(1.0,))
    steps = flat(module) * 8 * 2**20
    assert np.array_equal(steps, np.rint(steps))


def test_an_empty_batch_is_noisy(patients: Samples, still: Augmentation) -> None:
    mechanism = Mechanism(noise=2.0, clipping=1.0, batch=1, patients=10**12)
    noise = moved(linear(), patients, mechanism, still) / 2.0
    assert stats.kstest(noise, "norm").pvalue > 1e-3


def test_the_divisor_is_the_planned_number_whoever_is_sampled(patients: Samples, still: Augmentation) -> None:
    all_of_eleven = moved(linear(), patients, replace(EVERYBODY, clipping=0.1), still)
    alone = moved(linear(), of_patient(patients, 0), replace(EVERYBODY, clipping=0.1), still)
    assert np.linalg.norm(alone) == pytest.approx(0.1 / 11, rel=1e-9)
    assert np.linalg.norm(all_of_eleven) > np.linalg.norm(alone)


def test_noise_comes_before_momentum_so_that_it_adds_up(patients: Samples, still: Augmentation) -> None:
    mechanism = Mechanism(noise=1.0, clipping=1.0, batch=1, patients=10**12, momentum=0.5)
    one, two = linear(), linear()
    run(one, patients, mechanism, still, training=Training(steps=1, weight_decay=0))
    run(two, patients, mechanism, still, training=Training(steps=2, weight_decay=0))
    second = (flat(one) - flat(two)) / RATE - 0.5 * -flat(one) / RATE
    assert stats.kstest(second, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(second, flat(one))[0, 1]) < 0.15


class Fragile(nn.Module):
    """A linear layer whose gradient is not a number where an image is black: the root has no finite slope at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        root = torch.sqrt(images.amax(dim=(1, 2, 3)) + self.layer[1].bias.sum() ** 2)
        return self.layer(images) + 0 * root.unsqueeze(1)


def test_a_patient_whose_gradient_is_not_finite_counts_as_zero(patients: Samples, still: Augmentation) -> None:
    images = patients.images.copy()
    images[patients.units == 3] = 0
    bound = replace(EVERYBODY, clipping=0.5)
    rest = of_patient(patients, *[number for number in range(11) if number != 3])
    gradient = moved(Fragile(), replace(patients, images=images), bound, still)
    assert np.isfinite(gradient).all()
    assert np.array_equal(gradient, moved(Fragile(), rest, bound, still))
    assert not np.array_equal(gradient, moved(Fragile(), patients, bound, still))


# --------------------------------------------------------------------------------------------------- images and views


class Counting(nn.Module):
    """Notes the batches that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()
        self.batches: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        self.batches.append(images.detach().clone())
        return self.layer(images)


def test_a_patient_is_one_batch_of_some_images_in_several_views(patients: Samples) -> None:
    module = Counting()
    run(module, patients, replace(EVERYBODY, images_per_patient=1, augmentations=3))
    assert [len(batch) for batch in module.batches] == [3] * 11
    assert all(len({image.numpy().tobytes() for image in batch}) == 3 for batch in module.batches)


def test_which_images_are_taken_changes_from_step_to_step(patients: Samples, still: Augmentation) -> None:
    module = Counting()
    run(module, patients, replace(EVERYBODY, images_per_patient=1), still, training=Training(steps=12))
    taken = {batch.numpy().tobytes() for batch in module.batches}
    assert len(taken) == 22
    module = Counting()
    run(module, patients, EVERYBODY, still)
    assert [len(batch) for batch in module.batches] == [2] * 11


def test_what_a_patient_draws_depends_on_no_other_patient(patients: Samples) -> None:
    """Without the last patient, the views of all others are the same bits."""
    whole, less = Counting(), Counting()
    run(whole, patients, EVERYBODY)
    run(less, of_patient(patients, *range(10)), EVERYBODY)
    assert len(less.batches) == 10
    assert all(torch.equal(mine, other) for mine, other in zip(less.batches, whole.batches, strict=False))


def test_patients_are_sampled_at_the_nominal_rate(patients: Samples, still: Augmentation) -> None:
    module = Counting()
    mechanism = Mechanism(noise=1.0, clipping=1.0, batch=3, patients=30)
    run(module, patients, mechanism, still, training=Training(steps=600))
    assert stats.binomtest(len(module.batches), 600 * 11, 0.1).pvalue > 1e-3


# ------------------------------------------------------------------------------------------------------- the same bits

NOISY = Mechanism(noise=1.0, clipping=0.5, batch=4, patients=12, augmentations=2)
ORIGIN = TrainingIdentity(plan="1" * 64, start="2" * 64, data="3" * 64, device="cpu float32 1", threads=1, versions="torch 2")


@pytest.mark.parametrize("optimizer", list(PrivateOptimizer))
@pytest.mark.parametrize("stop", [1, 3, 4, 5])
def test_interrupted_and_resumed_gives_the_same_bits(
    patients: Samples, tmp_path: Path, optimizer: PrivateOptimizer, stop: int
) -> None:
    mechanism, rates = replace(NOISY, optimizer=optimizer), (1e-2, 1e-3)
    whole, begun, resumed = small(), small(), small()
    expected = run(whole, patients, mechanism, rates=rates)
    asked = iter(range(1, 100))
    with pytest.raises(KeyboardInterrupt):
        run(
            begun, patients, mechanism, rates=rates, checkpoint=Checkpoint(tmp_path / "c", ORIGIN, Silent()),
            interrupted=lambda: next(asked) == stop,
        )  # fmt: skip
    checkpoint = Checkpoint(tmp_path / "c", ORIGIN, Silent())
    assert checkpoint.snapshot is not None
    result = run(resumed, patients, mechanism, rates=rates, checkpoint=checkpoint, random_bytes=key(9))
    assert expected.steps == result.steps == 6
    assert {name: array.tobytes() for name, array in to_arrays(whole).items()} == {
        name: array.tobytes() for name, array in to_arrays(resumed).items()
    }
    assert all(np.array_equal(array, result.optimizer_state[name]) for name, array in expected.optimizer_state.items())


def test_bfloat16_interrupted_and_resumed_gives_the_same_bits_and_is_the_same_training(patients: Samples, tmp_path: Path) -> None:
    training, rates = Training(precision=Precision.BFLOAT16), (1e-2, 1e-3)
    whole, begun, resumed, single = small(), small(), small(), small()
    expected = run(whole, patients, NOISY, training=training, rates=rates)
    run(single, patients, NOISY, training=Training(), rates=rates)
    asked = iter(range(1, 100))
    with pytest.raises(KeyboardInterrupt):
        run(
            begun, patients, NOISY, training=training, rates=rates, interrupted=lambda: next(asked) == 4,
            checkpoint=Checkpoint(tmp_path / "c", ORIGIN, Silent()),
        )  # fmt: skip
    checkpoint = Checkpoint(tmp_path / "c", ORIGIN, Silent())
    result = run(resumed, patients, NOISY, training=training, rates=rates, checkpoint=checkpoint, random_bytes=key(9))
    assert flat(whole).tobytes() == flat(resumed).tobytes() != flat(single).tobytes()
    assert result.training == expected.training


def test_a_training_that_begins_again_has_other_noise(patients: Samples, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(small(), patients, NOISY, checkpoint=Checkpoint(tmp_path / "c", ORIGIN, Silent()), interrupted=lambda: True)
    changed = Checkpoint(tmp_path / "c", replace(ORIGIN, plan="4" * 64), Silent())
    assert changed.snapshot is None
    first, again, same = small(), small(), small()
    run(first, patients, NOISY)
    run(again, patients, NOISY, checkpoint=changed, random_bytes=key(2))
    run(same, patients, NOISY, random_bytes=key(2))
    assert not np.allclose(flat(first), flat(again))
    assert np.array_equal(flat(again), flat(same))


def test_the_key_is_unpredictable_where_none_is_given(patients: Samples) -> None:
    first, again = small(), small()
    for module in (first, again):
        PrivateTraining(module, patients, PLAIN, Augmentation(), NOISY, rates=(RATE,), device=CPU).run(Silent())
    assert not np.allclose(flat(first), flat(again))


def test_bfloat16_trains_float32_weights(patients: Samples) -> None:
    module, single = small(), small()
    run(module, patients, EVERYBODY, training=Training(precision=Precision.BFLOAT16))
    run(single, patients, EVERYBODY, training=Training())
    assert all(array.dtype == np.float32 for array in to_arrays(module).values())
    assert 0 < np.abs(flat(module) - flat(single)).max() < 0.01


# ------------------------------------------------------------------------------------------------------------ the floor


@pytest.mark.parametrize("runs", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_honest_training_is_below_the_floor_and_each_without_noise_is(
    patients: Samples, still: Augmentation, runs: int
) -> None:
    """Each training has a key of its own; all patients are clipped, whose gradients are then as long as they can be."""
    training, honest = Training(steps=2, weight_decay=0), Mechanism(noise=6.0, clipping=0.1, batch=1, patients=11)
    floor = NoisyDescent(
        values=1028, steps=2, rate=RATE, momentum=0.9, clipping=0.1, batch=1, noise=6.0, decay=0.0, start=0.0
    ).shortest
    assert floor > 0
    for mechanism, below in ((honest, False), (replace(honest, noise=0.0), True)):
        for _ in range(runs):
            module = linear()
            run(module, patients, mechanism, still, training=training, random_bytes=os.urandom)
            assert bool(np.linalg.norm(flat(module)) < floor) is below


# -------------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("module", "training", "message"),
    [
        (lambda: build(Network(name="densenet121"), 4), PLAIN, r"cannot use batch normalisation \(features.norm0\)"),
        (small, Training(class_weights=ClassWeights.INVERSE_FREQUENCY), "all patients' labels are in them"),
        (small, Training(clip_gradient=1.0), "cannot use training.clip_gradient = 1"),
    ],
)
def test_what_would_pass_the_noise_by_is_refused(
    patients: Samples, module: Callable[[], nn.Module], training: Training, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run(module(), patients, NOISY, training=training)


def test_a_network_whose_buffers_follow_the_images_is_refused(patients: Samples) -> None:
    module = nn.Sequential(nn.InstanceNorm2d(1, track_running_stats=True), nn.Flatten(), nn.Linear(256, 4))
    with pytest.raises(ConfigurationError, match=r"network: 0\.running_mean follows the images, and has no noise"):
        run(module, patients, NOISY)


def test_images_without_patients_are_refused(noise: Samples, patients: Samples) -> None:
    with pytest.raises(DataError, match="needs to know the patient of every image"):
        run(small(), noise, NOISY)
    with pytest.raises(DataError, match="there are no training images"):
        run(small(), of_patient(patients), NOISY)


@pytest.mark.parametrize(
    "changes",
    [{"noise": -1.0}, {"noise": math.nan}, {"clipping": 0.0}, {"clipping": math.inf}, {"batch": 13}, {"batch": 0},
     {"images_per_patient": 0}, {"augmentations": 0}],
)  # fmt: skip
def test_impossible_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        replace(NOISY, **changes)


def test_weights_that_are_not_finite_are_not_used(patients: Samples) -> None:
    with pytest.raises(TrainingError, match="is not finite after the last step"):
        run(small(), patients, replace(NOISY, noise=1e30, clipping=1e10), rates=(1.0,))

"""LocalTraining: the paper's algorithm, the same bits each time, and nothing usable when it fails."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from fedcli.errors import ConfigurationError, DataError, TrainingError
from fedcli.learning.networks.registry import build, initial_state
from fedcli.learning.networks.weights import load_arrays, to_arrays
from fedcli.learning.seeds import derive_seed
from fedcli.learning.training import sampling
from fedcli.learning.training.augmentation import augment, draw
from fedcli.learning.training.checkpoint import Checkpoint, TrainingIdentity
from fedcli.learning.training.local_training import LocalTraining, TrainingResult
from fedcli.plan import Augmentation, Network, Precision, Training
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fedcli.learning.samples import Samples

BATCHES_OF_8 = Training(batch_size=8, weight_decay=0.01)


def with_batch_norm(num_classes: int = 4) -> nn.Sequential:
    """Return a network whose training differs from its evaluation, with a seed of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * 14 * 14, num_classes)
        )


def run(module: nn.Module, samples: Samples, augmentation: Augmentation | None = None, **changes: Any) -> TrainingResult:
    """Train on the CPU with batches of 8, except for the changes, which are arguments of the class or of its `run`."""
    of_run = {name: changes.pop(name) for name in ("on_epoch", "interrupted") if name in changes}
    progress, training = changes.pop("progress", Silent()), changes.pop("training", BATCHES_OF_8)
    arguments: dict[str, Any] = {"seed": 3, "rates": (1e-3,), "device": torch.device("cpu"), **changes}
    return LocalTraining(module, samples, training, augmentation or Augmentation(), **arguments).run(progress, **of_run)


def plain_epoch(module: nn.Module, samples: Samples, augmentation: Augmentation, rate: float, seed: int) -> list[float]:
    """Train as the paper's text has it: balanced batches, L = -Σ y_i log(p_i), Adam after Kingma and Ba, L2 weight decay."""
    parameters = list(module.parameters())
    first = [torch.zeros_like(parameter) for parameter in parameters]
    second = [torch.zeros_like(parameter) for parameter in parameters]
    losses = []
    module.train()
    drawn = sampling.draw_epoch(samples.labels, BATCHES_OF_8, np.random.default_rng(derive_seed(seed, "batches")))
    for step, indices in enumerate(drawn, 1):
        images = torch.tensor(samples.images[indices] / 65535.0)[:, None]
        images = augment(
            images, augmentation, draw(8, torch.Generator().manual_seed(derive_seed(seed, "augmentation", step - 1)))
        )
        one_hot = torch.tensor(np.eye(4)[samples.labels[indices]])
        output = torch.exp(module(images))
        probabilities = output / output.sum(dim=1, keepdim=True)
        loss = -(one_hot * torch.log(probabilities)).sum(dim=1).mean()
        gradients = torch.autograd.grad(loss, parameters)
        losses.append(loss.item())
        with torch.no_grad():
            for position, (parameter, raw) in enumerate(zip(parameters, gradients, strict=True)):
                gradient = raw + BATCHES_OF_8.weight_decay * parameter
                first[position] = 0.9 * first[position] + 0.1 * gradient
                second[position] = 0.999 * second[position] + 0.001 * gradient**2
                m_hat = first[position] / (1 - 0.9**step)
                v_hat = second[position] / (1 - 0.999**step)
                parameter.sub_(rate * m_hat / (v_hat.sqrt() + 1e-8))
    return losses


@pytest.mark.parametrize("augmentation", [None, Augmentation()], ids=["plain", "augmented"])
def test_one_epoch_equals_the_papers_text(noise: Samples, still: Augmentation, augmentation: Augmentation | None) -> None:
    ours, theirs = with_batch_norm().double(), with_batch_norm().double()
    for module in (ours, theirs):
        module[4] = nn.Identity()  # instead of dropout, which the text does not have
        module.eval()  # train must switch to training mode itself
    outcome = run(ours, noise, augmentation or still)
    losses = plain_epoch(theirs, noise, augmentation or still, rate=1e-3, seed=derive_seed(3, 1))
    assert outcome.steps == len(losses) == 3  # ceil(22 / 8)
    assert outcome.loss == pytest.approx(np.mean(losses), abs=1e-9)
    initial, expected = to_arrays(with_batch_norm().double()), to_arrays(theirs)
    for name, array in to_arrays(ours).items():
        assert np.abs(array - expected[name]).max() < 1e-9, name
        assert not np.array_equal(array, initial[name]), name


def trained(make: Callable[[], nn.Module], samples: Samples, **changes: Any) -> tuple[dict[str, Any], TrainingResult]:
    module = make()
    outcome = run(module, samples, **changes)
    return to_arrays(module), outcome


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(first[name].tobytes() == second[name].tobytes() for name in first)


def small() -> nn.Module:
    module = build(Network(name="small"), 4)
    load_arrays(module, initial_state(Network(name="small"), 4, seed=0))
    return module


def densenet() -> nn.Module:
    module = build(Network(name="densenet121"), 4)
    load_arrays(module, initial_state(Network(name="densenet121"), 4, seed=0))
    return module


@pytest.mark.parametrize("make", [small, with_batch_norm])
def test_same_seed_gives_the_same_bits(noise: Samples, make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(100)
    first, outcome = trained(make, noise, rates=(1e-3,) * 2)
    torch.manual_seed(200)
    global_state = torch.get_rng_state()
    again, repeated = trained(make, noise, rates=(1e-3,) * 2)
    assert same(first, again)
    assert same(outcome.optimizer_state, repeated.optimizer_state)
    assert outcome.loss == repeated.loss
    assert not same(first, trained(make, noise, rates=(1e-3,) * 2, seed=4)[0])
    if make is with_batch_norm:
        assert torch.equal(torch.get_rng_state(), global_state)
    assert not torch.are_deterministic_algorithms_enabled()


def test_densenet_gives_the_same_bits(noise: Samples) -> None:
    samples = replace(noise, images=np.kron(noise.images[:10], np.ones((1, 4, 4), dtype=np.uint16)),
                      labels=noise.labels[:10], units=noise.units[:10])  # fmt: skip
    first, outcome = trained(densenet, samples)
    again, _ = trained(densenet, samples)
    assert outcome.steps == 2
    assert same(first, again)
    assert first["features.norm0.num_batches_tracked"] == 2


@pytest.mark.parametrize("make", [small, with_batch_norm])
def test_kept_optimizer_state_counts(noise: Samples, make: Callable[[], nn.Module]) -> None:
    module = make()
    begun = run(module, noise)
    kept, reset = make(), make()
    for each in (kept, reset):
        load_arrays(each, to_arrays(module))
    ended = run(kept, noise, optimizer_state=begun.optimizer_state)
    run(reset, noise)
    assert not same(to_arrays(kept), to_arrays(reset))
    assert all(value == 6 for name, value in ended.optimizer_state.items() if name.endswith(":step"))


def test_rates_are_those_of_the_epochs(noise: Samples) -> None:
    steady, falling = trained(small, noise, rates=(1e-3, 1e-3))[0], trained(small, noise, rates=(1e-3, 1e-6))[0]
    one = trained(small, noise)[0]
    moved = [max(np.abs(arrays[name] - one[name]).max() for name in one) for arrays in (steady, falling)]
    assert moved[0] > 1e-4
    assert moved[1] < 1e-5


def test_optimizer_state_of_another_network_is_refused(noise: Samples) -> None:
    state = run(small(), noise).optimizer_state
    with pytest.raises(ConfigurationError, match="the optimizer state does not fit the network"):
        run(with_batch_norm(), noise, optimizer_state=state)


def test_optimizer_state_is_named_after_the_weights(noise: Samples) -> None:
    state = run(with_batch_norm(), noise).optimizer_state
    assert state["0.weight:exp_avg"].shape == state["0.weight:exp_avg_sq"].shape == (4, 1, 3, 3)
    assert state["0.weight:step"] == 3
    assert len(state) == 3 * 6


def test_first_step_is_as_long_as_the_rate(noise: Samples, still: Augmentation) -> None:
    samples = replace(noise, images=noise.images[:8], labels=noise.labels[:8], units=noise.units[:8])
    before = to_arrays(small().double())
    for rate in (1e-4, 3e-2):
        module = small().double()
        run(module, samples, still, rates=(rate,))
        moved = np.concatenate([np.abs(array - before[name]).ravel() for name, array in to_arrays(module).items()])
        assert np.median(moved) == pytest.approx(rate, rel=1e-2)  # Adam's first step is rate × g / (|g| + ε)
        assert moved.max() <= rate * (1 + 1e-9)


def test_rate_falls_by_the_global_round() -> None:
    training = Training()
    rates = [training.rate_in(number) for number in (1, 100, 101, 200, 201, 300)]
    assert rates == [1e-4, 1e-4, 5e-5, 5e-5, 2.5e-5, 2.5e-5]


def test_it_learns(noise: Samples, still: Augmentation) -> None:
    module = small()
    first = run(module, noise, still, rates=(3e-3,)).loss
    assert first > 0.8
    assert run(module, noise, still, rates=(3e-3,) * 30).loss < first / 2


def test_each_epoch_is_told(noise: Samples) -> None:
    module, told, modes = with_batch_norm(), [], []

    def listen(epoch: int) -> None:
        told.append((epoch, to_arrays(module)))
        modes.append(module.training)
        module.eval()  # as scoring does

    run(module, noise, rates=(1e-3,) * 3, on_epoch=listen)
    assert [epoch for epoch, _ in told] == [1, 2, 3]
    assert modes == [True, True, True]
    assert same(told[-1][1], to_arrays(module))
    assert not same(told[0][1], told[1][1])


def test_progress_and_clock(noise: Samples) -> None:
    heard: list[tuple[Any, ...]] = []

    class Listener(Silent):
        @contextmanager
        def track(self, label: str, total: int, unit: str) -> Iterator[Callable[[int, str], None]]:
            heard.append((label, total, unit))
            yield lambda units, note: heard.append((units, note))

    ticks = iter(range(100))
    outcome = run(with_batch_norm(), noise, progress=Listener(), clock=lambda: float(next(ticks)))
    assert heard[0] == ("training", 3, "steps")
    assert [units for units, _ in heard[1:]] == [0, 1, 1, 1]
    assert [note.partition(", ")[2] for _, note in heard[2:]] == [
        "8 images/s, 2 s left", "8 images/s, 1 s left", "8 images/s, 0 s left",
    ]  # fmt: skip
    assert all(note.startswith("loss ") for _, note in heard[2:])
    assert outcome.seconds == 3


def test_weights_that_are_not_finite_stop_at_the_first_step(noise: Samples) -> None:
    module = with_batch_norm()
    module.state_dict()["5.weight"][0, 0] = float("nan")
    with pytest.raises(TrainingError, match="the training loss became nan in epoch 1, step 1; nothing"):
        run(module, noise)
    assert not torch.are_deterministic_algorithms_enabled()


class Exploding(nn.Module):
    """Finite outputs, gradients that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return four zeros for each image; the root has no finite slope there."""
        return torch.sqrt(torch.abs(self.weight)).expand(len(images), 4)


def test_last_step_that_breaks_the_weights_is_found(noise: Samples) -> None:
    samples = replace(noise, images=noise.images[:8], labels=noise.labels[:8], units=noise.units[:8])
    with pytest.raises(TrainingError, match="weight is not finite after the last step"):
        run(Exploding(), samples)


def test_no_images_is_an_error(noise: Samples) -> None:
    empty = replace(noise, images=noise.images[:0], labels=noise.labels[:0], units=noise.units[:0])
    with pytest.raises(DataError, match="no training images"):
        run(small(), empty)


def test_memory_mapped_images_train_alike(noise: Samples, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("prepared") / "images.npy"
    np.save(path, noise.images)
    mapped = replace(noise, images=np.load(path, mmap_mode="r"))
    assert same(trained(small, mapped)[0], trained(small, noise)[0])


def test_patients_of_the_batch_that_failed_are_named_by_their_hashes(noise: Samples) -> None:
    samples = replace(noise, patients=np.array([f"hash{number // 2:02d}" for number in range(22)]))
    module = with_batch_norm()

    def poison(epoch: int) -> None:
        module.state_dict()["5.weight"][0, 0] = float("inf")

    drawn = sampling.draw_epoch(noise.labels, BATCHES_OF_8, np.random.default_rng(derive_seed(derive_seed(3, 2), "batches")))
    names = ", ".join(sorted(set(samples.patients[next(drawn)])))
    with pytest.raises(TrainingError, match=f"in epoch 2, step 1 on the images of patients {names};"):
        run(module, samples, rates=(1e-3,) * 2, on_epoch=poison)
    assert 1 < len(names.split(", ")) < 9


def test_a_clipped_gradient_has_the_norm_that_it_was_clipped_to(noise: Samples, still: Augmentation) -> None:
    samples = replace(noise, images=noise.images[:8], labels=noise.labels[:8], units=noise.units[:8])
    norms = []
    for clip in (0.0, 1e-3, 1e5):
        training = Training(batch_size=8, clip_gradient=clip, weight_decay=0)
        state = run(small().double(), samples, still, training=training).optimizer_state
        # Adam's first moment after one step is (1 - β1) of the gradient.
        norms.append(
            np.sqrt(
                sum(
                    float((10 * value).ravel() @ (10 * value).ravel())
                    for name, value in state.items()
                    if name.endswith("exp_avg")
                )
            )
        )
    assert norms[1] == pytest.approx(1e-3, rel=1e-3)
    assert norms[2] == pytest.approx(norms[0], rel=1e-9)
    assert norms[0] > 0.01


def test_the_proximal_term_holds_the_weights_back_and_leaves_buffers_unchanged(noise: Samples, still: Augmentation) -> None:
    start = to_arrays(with_batch_norm().double())
    trained_by, losses = {}, {}
    for strength in (0.0, 10.0):
        module = with_batch_norm().double()
        module[4] = nn.Identity()
        training = Training(batch_size=8, proximal=strength)
        losses[strength] = run(module, noise, still, training=training, rates=(1e-3,) * 4).loss
        trained_by[strength] = to_arrays(module)
    distance = {
        strength: sum(
            np.square(arrays[name] - start[name]).sum() for name in arrays if "running" not in name and "num" not in name
        )
        for strength, arrays in trained_by.items()
    }
    assert distance[10.0] < 0.5 * distance[0.0]
    assert losses[10.0] > losses[0.0]  # the recorded loss is without the term
    for arrays in trained_by.values():
        assert np.abs(arrays["1.running_mean"] - start["1.running_mean"]).max() > 1e-3


def test_bfloat16_is_near_float32_and_weights_stay_float32(noise: Samples, still: Augmentation) -> None:
    losses = {}
    for precision in (Precision.FLOAT32, Precision.BFLOAT16):
        training = replace(BATCHES_OF_8, precision=precision)
        arrays, outcome = trained(small, noise, augmentation=still, training=training)
        assert all(array.dtype == np.float32 for array in [*arrays.values(), *outcome.optimizer_state.values()])
        losses[precision] = outcome.loss
    assert losses[Precision.BFLOAT16] != losses[Precision.FLOAT32]
    assert losses[Precision.BFLOAT16] == pytest.approx(losses[Precision.FLOAT32], rel=0.02)


def test_a_network_of_float64_computes_in_float64_whatever_the_plan_says(noise: Samples) -> None:
    make = lambda: small().double()  # noqa: E731
    results = [trained(make, noise, training=replace(BATCHES_OF_8, precision=precision))[0] for precision in Precision]
    assert same(results[0], results[1])
    assert same(results[1], results[2])


class CutError(Exception):
    """What stops a training in the middle, as kill -9 would."""


ORIGIN = TrainingIdentity(plan="0" * 64, start="1" * 64, data="2" * 64, device="cpu", threads=1, versions="torch 0")


@pytest.mark.parametrize("make", [small, with_batch_norm])
@pytest.mark.parametrize("after", [1, 3, 4, 8])
@pytest.mark.parametrize("gently", [True, False])
def test_interrupted_anywhere_it_ends_with_the_same_bits(
    noise: Samples, tmp_path: Path, make: Callable[[], nn.Module], after: int, *, gently: bool
) -> None:
    training = replace(BATCHES_OF_8, proximal=0.1, clip_gradient=1.0)
    rates, epochs, again = (1e-3, 2e-3, 3e-3), [], []
    expected, calm = trained(make, noise, training=training, rates=rates, on_epoch=epochs.append)
    steps = itertools.count(1)

    def interrupted() -> bool:
        if next(steps) == after:
            if gently:
                return True
            raise CutError
        return False

    cut = Checkpoint(tmp_path / "kept", ORIGIN, Silent(), interval=0 if not gently else 1000)
    with pytest.raises(KeyboardInterrupt if gently else CutError):
        run(make(), noise, training=training, rates=rates, on_epoch=again.append, checkpoint=cut, interrupted=interrupted)
    kept = Checkpoint(tmp_path / "kept", ORIGIN, Silent())
    # Where a gentle stop is asked for before a step, that step is still taken.
    assert len(kept.snapshot.losses if kept.snapshot else ()) == (after if gently else after - 1)
    module = make()
    ended = run(module, noise, training=training, rates=rates, on_epoch=again.append, checkpoint=kept)
    assert same(to_arrays(module), expected)
    assert same(ended.optimizer_state, calm.optimizer_state)
    assert (ended.loss, ended.steps) == (calm.loss, calm.steps)
    assert sorted(set(again)) == epochs == [1, 2, 3]


def test_nothing_is_left_to_do_after_the_last_step(noise: Samples, tmp_path: Path) -> None:
    expected, outcome = trained(small, noise, checkpoint=Checkpoint(tmp_path / "kept", ORIGIN, Silent()))
    module, told = small(), []
    again = run(module, noise, checkpoint=Checkpoint(tmp_path / "kept", ORIGIN, Silent()), on_epoch=told.append)
    assert same(to_arrays(module), expected)
    assert (again.loss, again.steps, told) == (outcome.loss, 3, [1])

"""LocalTraining: the paper's algorithm, the same bits each time, and nothing usable when it fails."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from fedcli.errors import ConfigurationError, DataError, TrainingError
from fedcli.learning.augmentation import augment
from fedcli.learning.batches import balanced_epoch
from fedcli.learning.networks import build, initial_state, load_arrays, to_arrays
from fedcli.learning.seeds import derive_seed
from fedcli.learning.training import Outcome, train
from fedcli.plan import Augmentation, Training
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fedcli.learning.samples import Samples

BATCHES_OF_8 = Training(batch_size=8, weight_decay=0.01)


def with_batch_norm(num_classes: int = 4) -> nn.Sequential:
    """Return a network whose training differs from its evaluation, with a seed of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * 14 * 14, num_classes)
        )


def run(module: nn.Module, samples: Samples, augmentation: Augmentation | None = None, **changes: Any) -> Outcome:
    arguments: dict[str, Any] = {
        "seed": 3, "rate": 1e-3, "epochs": 1, "device": torch.device("cpu"), "progress": Silent(),
    }  # fmt: skip
    return train(module, samples, BATCHES_OF_8, augmentation or Augmentation(), **{**arguments, **changes})


def plain_epoch(module: nn.Module, samples: Samples, augmentation: Augmentation, rate: float, seed: int) -> list[float]:
    """Train as the paper's text has it: balanced batches, L = -Σ y_i log(p_i), Adam after Kingma and Ba, L2 weight decay."""
    parameters = list(module.parameters())
    first = [torch.zeros_like(parameter) for parameter in parameters]
    second = [torch.zeros_like(parameter) for parameter in parameters]
    generator = torch.Generator().manual_seed(derive_seed(seed, "augmentation"))
    losses = []
    module.train()
    batches = balanced_epoch(samples.labels, BATCHES_OF_8.batch_size, np.random.default_rng(derive_seed(seed, "batches")))
    for step, indices in enumerate(batches, 1):
        images = torch.tensor(samples.images[indices] / 65535.0)[:, None]
        images = augment(images, augmentation, generator)
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
    assert outcome.images == 24
    assert outcome.loss == pytest.approx(np.mean(losses), abs=1e-9)
    initial, expected = to_arrays(with_batch_norm().double()), to_arrays(theirs)
    for name, array in to_arrays(ours).items():
        assert np.abs(array - expected[name]).max() < 1e-9, name
        assert not np.array_equal(array, initial[name]), name


def trained(make: Callable[[], nn.Module], samples: Samples, **changes: Any) -> tuple[dict[str, Any], Outcome]:
    module = make()
    outcome = run(module, samples, **changes)
    return to_arrays(module), outcome


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(first[name].tobytes() == second[name].tobytes() for name in first)


def small() -> nn.Module:
    module = build("small", 4)
    load_arrays(module, initial_state("small", 4, seed=0))
    return module


def densenet() -> nn.Module:
    module = build("densenet121", 4)
    load_arrays(module, initial_state("densenet121", 4, seed=0))
    return module


@pytest.mark.parametrize("make", [small, with_batch_norm])
def test_same_seed_gives_the_same_bits(noise: Samples, make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(100)
    first, outcome = trained(make, noise, epochs=2)
    torch.manual_seed(200)
    global_state = torch.get_rng_state()
    again, repeated = trained(make, noise, epochs=2)
    assert same(first, again)
    assert same(outcome.optimizer_state, repeated.optimizer_state)
    assert outcome.loss == repeated.loss
    assert not same(first, trained(make, noise, epochs=2, seed=4)[0])
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
def test_kept_state_equals_one_uninterrupted_run(noise: Samples, make: Callable[[], nn.Module]) -> None:
    expected, uninterrupted = trained(make, noise, epochs=3)
    module = make()
    begun = run(module, noise, epochs=1)
    resumed = make()
    load_arrays(resumed, to_arrays(module))
    ended = run(resumed, noise, epochs=2, first_epoch=2, optimizer_state=begun.optimizer_state)
    assert same(to_arrays(resumed), expected)
    assert same(ended.optimizer_state, uninterrupted.optimizer_state)
    assert begun.steps + ended.steps == uninterrupted.steps
    load_arrays(resumed, to_arrays(module))
    run(resumed, noise, epochs=2, first_epoch=2)
    assert not same(to_arrays(resumed), expected)


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
        run(module, samples, still, rate=rate)
        moved = np.concatenate([np.abs(array - before[name]).ravel() for name, array in to_arrays(module).items()])
        assert np.median(moved) == pytest.approx(rate, rel=1e-2)  # Adam's first step is rate × g / (|g| + ε)
        assert moved.max() <= rate * (1 + 1e-9)


def test_rate_falls_by_the_global_round() -> None:
    training = Training()
    rates = [training.rate_in(number) for number in (1, 100, 101, 200, 201, 300)]
    assert rates == [1e-4, 1e-4, 5e-5, 5e-5, 2.5e-5, 2.5e-5]


def test_it_learns(noise: Samples, still: Augmentation) -> None:
    module = small()
    first = run(module, noise, still, rate=3e-3).loss
    assert first > 0.8
    assert run(module, noise, still, rate=3e-3, epochs=30).loss < first / 2


def test_each_epoch_is_told(noise: Samples) -> None:
    module, told, modes = with_batch_norm(), [], []

    def listen(epoch: int) -> None:
        told.append((epoch, to_arrays(module)))
        modes.append(module.training)
        module.eval()  # as scoring does

    run(module, noise, epochs=3, first_epoch=5, on_epoch=listen)
    assert [epoch for epoch, _ in told] == [5, 6, 7]
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

    ticks = iter([10.0, 12.5])
    outcome = run(with_batch_norm(), noise, progress=Listener(), clock=lambda: next(ticks))
    assert heard[0] == ("training", 3, "steps")
    assert [units for units, _ in heard[1:]] == [1, 1, 1]
    assert all(note.startswith("loss ") for _, note in heard[1:])
    assert outcome.seconds == 2.5


def test_weights_that_are_not_finite_stop_at_the_first_step(noise: Samples) -> None:
    module = with_batch_norm()
    module.state_dict()["5.weight"][0, 0] = float("nan")
    with pytest.raises(TrainingError, match="the training loss became nan in step 1"):
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
    with pytest.raises(TrainingError, match="weight is not finite after step 1"):
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

"""Two processes that train together take the steps that one would take."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

from fedcli import tensors
from fedcli.errors import ConfigurationError
from fedcli.learning.networks.registry import build, initial_state
from fedcli.learning.networks.weights import load_arrays, to_arrays
from fedcli.learning.samples import Samples
from fedcli.learning.seeds import derive_seed
from fedcli.learning.training import sampling
from fedcli.learning.training.augmentation import augment, draw
from fedcli.learning.training.checkpoint import Checkpoint, TrainingIdentity
from fedcli.learning.training.data_parallel import SINGLE_PROCESS, Replicas
from fedcli.learning.training.local_training import LocalTraining
from fedcli.learning.training.mechanism import Mechanism
from fedcli.learning.training.private import PrivateTraining
from fedcli.plan import Augmentation, ClassWeights, Network, Training
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRAINING = Training(
    batch_size=9, proximal=0.1, clip_gradient=1.0, class_weights=ClassWeights.INVERSE_FREQUENCY, label_smoothing=0.1
)
ONE_STEP = Training(batch_size=8, steps=1)
ORIGIN = TrainingIdentity(plan="0" * 64, start="1" * 64, data="2" * 64, device="cpu × 2", threads=1, versions="torch 0")


def samples() -> Samples:
    generator = np.random.default_rng(5)
    labels = np.array([0] * 10 + [2] * 8 + [3] * 4, dtype=np.int64)
    images = generator.integers(0, 65536, (22, 16, 16)).astype(np.uint16)
    return Samples(images=images, labels=labels, units=np.arange(22) // 2, num_classes=4)


def group_norm() -> nn.Module:
    module = build(Network(name="small"), 4)
    load_arrays(module, initial_state(Network(name="small"), 4, seed=0))
    return module.double()


def batch_norm() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 4)).double()


def go(module: nn.Module, replicas: Replicas, **changes: Any) -> dict[str, Any]:
    """Train, and return weights, buffers, moments and loss."""
    interrupted = changes.pop("interrupted", lambda: False)
    settings, rates = changes.pop("training", TRAINING), changes.pop("rates", (1e-3, 2e-3))
    training = LocalTraining(
        module, samples(), settings, Augmentation(), seed=3, rates=rates, device=torch.device("cpu"), replicas=replicas, **changes
    )
    result = training.run(Silent(), interrupted=interrupted)
    return to_arrays(module) | result.optimizer_state | {"loss": np.array(result.loss)}


def plainly(replicas: Replicas, folder: Path) -> dict[str, Any]:
    module = group_norm()
    if replicas.rank:
        nn.init.zeros_(next(module.parameters()))  # the first process's weights count
    return go(module, replicas)


def one_step(replicas: Replicas, folder: Path) -> dict[str, Any]:
    return go(batch_norm(), replicas, rates=(1e-3,), training=ONE_STEP)


NOISY = Mechanism(noise=1.0, clipping=0.5, batch=4, patients=12, images_per_patient=1, augmentations=2)


def go_privately(module: nn.Module, replicas: Replicas, **changes: Any) -> dict[str, Any]:
    """Train with noise from a key that only the first process has; return weights, moments and steps."""
    interrupted = changes.pop("interrupted", lambda: False)
    of_patients, settings = replace(samples(), patients=samples().units.astype(str)), Training(steps=3, proximal=0.1)
    training = PrivateTraining(
        module, of_patients, settings, Augmentation(), NOISY, rates=(1e-2, 2e-2), device=torch.device("cpu"),
        replicas=replicas, random_bytes=os.urandom if replicas.rank else bytes, **changes,
    )  # fmt: skip
    result = training.run(Silent(), interrupted=interrupted)
    return to_arrays(module) | result.optimizer_state | {"steps": np.array(result.steps)}


def privately(replicas: Replicas, folder: Path) -> dict[str, Any]:
    module = group_norm()
    if replicas.rank:
        nn.init.zeros_(next(module.parameters()))
    return go_privately(module, replicas)


def stopped_by_the_second(replicas: Replicas, folder: Path, train: Callable[..., dict[str, Any]] = go) -> dict[str, Any]:
    """Be interrupted where only the second process is asked to stop, then go on."""
    first = replicas.rank == 0
    count = itertools.count(1)
    kept = folder / train.__name__
    checkpoint = Checkpoint(kept, ORIGIN, Silent()) if first else None
    with pytest.raises(KeyboardInterrupt):
        train(group_norm(), replicas, checkpoint=checkpoint, interrupted=lambda: next(count) == 4 and not first)
    checkpoint = Checkpoint(kept, ORIGIN, Silent()) if first else None
    assert checkpoint is None or (
        checkpoint.snapshot is not None and (checkpoint.snapshot.epoch, checkpoint.snapshot.step) == (2, 1)
    )
    return train(group_norm(), replicas, checkpoint=checkpoint)


def privately_stopped_by_the_second(replicas: Replicas, folder: Path) -> dict[str, Any]:
    return stopped_by_the_second(replicas, folder, go_privately)


def messages(replicas: Replicas, folder: Path) -> dict[str, Any]:
    sent = (b"{}", b"", b"x" * 1000)
    told = [replicas.broadcast_message(message if replicas.rank == 0 else b"own") for message in sent]
    assert replicas.total(1.5, replicas.rank) == (3.0, 1.0)
    return {"heard": np.array([message == expected for message, expected in zip(told, sent, strict=True)])}


WORK: tuple[Callable[[Replicas, Path], dict[str, Any]], ...] = (
    plainly, one_step, stopped_by_the_second, privately, privately_stopped_by_the_second, messages,
)  # fmt: skip


def process(rank: int, folder: Path) -> None:
    """Be one of two processes, and write what each work returns."""
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "meeting"), 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    for work in WORK:
        tensors.write(folder / f"{work.__name__}-{rank}.safetensors", work(Replicas(rank=rank, size=2, local=rank), folder))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Return what each of two processes made of each work; starting them takes seconds, so all is done in one go."""
    folder = tmp_path_factory.mktemp("together")
    spawn(process, (folder,), 2)  # type: ignore[no-untyped-call]
    return {work.__name__: [tensors.read(folder / f"{work.__name__}-{rank}.safetensors") for rank in (0, 1)] for work in WORK}


def test_two_processes_with_group_norm_equal_one_to_1e_9(made: dict[str, list[dict[str, Any]]]) -> None:
    expected = go(group_norm(), SINGLE_PROCESS)
    for trained in made["plainly"]:  # 9 images between two: their shares differ
        for name, array in expected.items():
            assert np.abs(trained[name] - array).max() < 1e-9, name
    start = to_arrays(group_norm())
    assert max(np.abs(expected[name] - start[name]).max() for name in start) > 1e-3


def test_on_a_cpu_the_first_processs_running_statistics_count(made: dict[str, list[dict[str, Any]]], still: Augmentation) -> None:
    seed = derive_seed(3, 1)
    indices = next(sampling.draw_epoch(samples().labels, ONE_STEP, np.random.default_rng(derive_seed(seed, "batches"))))
    images = torch.tensor(samples().images[indices[::2]] / 65535.0)[:, None]
    choices = draw(len(indices), torch.Generator().manual_seed(derive_seed(seed, "augmentation", 0)))
    features = batch_norm()[0](augment(images, Augmentation(), choices[::2]))
    expected = 0.1 * features.detach().mean(dim=(0, 2, 3)).numpy()
    assert np.abs(made["one_step"][0]["1.running_mean"] - expected).max() < 1e-12


def test_all_stop_where_one_is_asked_to_and_go_on_together(made: dict[str, list[dict[str, Any]]]) -> None:
    for resumed, expected in zip(made["stopped_by_the_second"], made["plainly"], strict=True):
        # The second process does not know the losses of the first run.
        assert all(np.array_equal(resumed[name], array) for name, array in expected.items() if name != "loss")
    assert made["stopped_by_the_second"][0]["loss"] == made["plainly"][0]["loss"]


def test_two_processes_that_train_privately_equal_one_to_1e_9(made: dict[str, list[dict[str, Any]]]) -> None:
    """The noise of a step is added once: with a deviation of 0.125 in every weight's gradient, twice would not be hidden."""
    expected = go_privately(group_norm(), SINGLE_PROCESS)
    for trained in made["privately"]:
        for name, array in expected.items():
            assert np.abs(trained[name] - array).max() < 1e-9, name
    start = to_arrays(group_norm())
    assert min(np.abs(expected[name] - start[name]).max() for name in start) > 1e-3


def test_private_training_stops_together_and_goes_on_with_the_same_bits(made: dict[str, list[dict[str, Any]]]) -> None:
    for resumed, expected in zip(made["privately_stopped_by_the_second"], made["privately"], strict=True):
        assert all(np.array_equal(resumed[name], array) for name, array in expected.items())


def test_messages_and_totals(made: dict[str, list[dict[str, Any]]]) -> None:
    assert all(process["heard"].all() for process in made["messages"])
    assert SINGLE_PROCESS.broadcast_message(b"by itself") == b"by itself"
    assert SINGLE_PROCESS.total(1.5, 2.5) == (1.5, 2.5)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="10 processes cannot share a batch of 9 images"):
        go(group_norm(), replace(SINGLE_PROCESS, size=10))
    three, cpu = replace(SINGLE_PROCESS, size=3), torch.device("cpu")
    three.require_shares(5, group_norm(), cpu)
    three.require_shares(5, nn.BatchNorm2d(1), torch.device("cuda"))
    three.require_shares(6, nn.BatchNorm2d(1), cpu)
    with pytest.raises(
        ConfigurationError, match="3 processes cannot share a batch of 5 images, two for each, which BatchNorm needs"
    ):
        three.require_shares(5, nn.BatchNorm2d(1), cpu)

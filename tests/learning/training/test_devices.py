"""Training on a GPU: the same steps as on the CPU, up to the GPU's rounding. Each body runs on the CPU too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from fedcli.learning.networks.precision import choose
from fedcli.learning.networks.registry import build, initial_state
from fedcli.learning.networks.weights import load_arrays, to_arrays
from fedcli.learning.training.batch_loader import BatchLoader
from fedcli.learning.training.local_training import LocalTraining
from fedcli.learning.training.mechanism import Mechanism
from fedcli.learning.training.private import PrivateTraining
from fedcli.plan import Augmentation, Network, Normalisation, Precision, Training
from fedcli.progress import Silent
from tests.fixtures.devices import DEVICES

if TYPE_CHECKING:
    from fedcli.learning.samples import Samples
    from fedcli.learning.training.local_training import TrainingResult

_CPU = torch.device("cpu")
_LEAST_COSINE = {Precision.FLOAT32: 0.98, Precision.BFLOAT16: 0.8}
"""Between how the weights move on the device, and on the CPU in float32: Adam makes steps of the signs of small gradients."""


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def small(normalisation: Normalisation = Normalisation.BATCH) -> nn.Module:
    network = Network(name="small", normalisation=normalisation)
    module = build(network, 4)
    load_arrays(module, initial_state(network, 4, seed=0))
    return module


def trained(samples: Samples, device: torch.device, precision: Precision) -> tuple[dict[str, Any], TrainingResult]:
    module, settings = small(), Training(batch_size=8, precision=precision)
    result = LocalTraining(module, samples, settings, Augmentation(), seed=3, rates=(1e-3,), device=device).run(Silent())
    return to_arrays(module), result


def movement(after: dict[str, Any]) -> np.ndarray:
    before = to_arrays(small())
    return np.concatenate([(after[name] - before[name]).astype(np.float64).ravel() for name in before])


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_training_moves_the_weights_as_on_the_cpu(noise: Samples, device: torch.device, precision: Precision) -> None:
    expected, plain = trained(noise, _CPU, Precision.FLOAT32)
    arrays, result = trained(noise, device, precision)
    assert {array.dtype for array in arrays.values()} == {array.dtype for array in expected.values()}
    assert (result.steps, result.loss) == (plain.steps, pytest.approx(plain.loss, rel=0.02))
    ours, theirs = movement(arrays), movement(expected)
    assert ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs)) > _LEAST_COSINE[precision]
    assert (precision is Precision.FLOAT32 and device == _CPU) == np.array_equal(ours, theirs)


def test_batches_are_those_of_the_cpu_and_a_gpu_s_are_read_ahead(noise: Samples, device: torch.device) -> None:
    loader = BatchLoader(samples=noise, training=Training(batch_size=8), augmentation=Augmentation(), device=_CPU)
    there = replace(loader, device=device)
    rows = there._rows(np.arange(3))  # noqa: SLF001 - the only sign of how they go to the device
    assert rows.is_pinned() == (device.type == "cuda")
    for done in (0, 2):
        expected, batches = list(loader.epoch(5, done)), list(there.epoch(5, done))
        assert len(batches) == len(expected) == 3 - done
        for batch, other in zip(batches, expected, strict=True):
            assert (batch.images.device.type, batch.labels.device.type) == (device.type, device.type)
            assert np.array_equal(batch.indices, other.indices)
            assert torch.equal(batch.labels.cpu(), other.labels)
            assert torch.allclose(batch.images.cpu(), other.images, atol=1e-5)


def test_a_private_step_is_that_of_the_cpu_with_the_same_noise(noise: Samples, device: torch.device) -> None:
    patients = replace(noise, patients=np.array([f"p{number // 2:02d}" for number in range(22)]))
    mechanism = Mechanism(noise=1.0, clipping=1.0, batch=11, patients=11)
    moved = []
    for place in (_CPU, device):
        module = small(Normalisation.GROUP).double()
        training = PrivateTraining(
            module,
            patients,
            Training(steps=2),
            Augmentation(),
            mechanism,
            rates=(0.1,),
            device=place,
            random_bytes=lambda length: bytes([1]) * length,
        )
        assert training.run(Silent()).steps == 2
        moved.append(np.concatenate([array.ravel() for array in to_arrays(module).values()]))
    assert np.abs(moved[0] - moved[1]).max() < 1e-6
    start = np.concatenate([array.ravel() for array in to_arrays(small(Normalisation.GROUP).double()).values()])
    assert np.abs(moved[1] - start).max() > 1e-3


@pytest.mark.gpu
def test_auto_is_bfloat16_where_the_gpu_has_it() -> None:
    expected = Precision.BFLOAT16 if torch.cuda.get_device_capability() >= (8, 0) else Precision.FLOAT32
    assert choose(Precision.AUTO, torch.device("cuda")) is expected

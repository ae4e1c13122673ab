"""A private step beside a plain one: `python private.py FOLDER STEPS PRECISION` prints seconds per step and of the noise as JSON.

DenseNet-121 with GroupNorm, 8 patients with 4 images each of 96 × 96: the plain step takes the 32 images as one batch,
the private one takes each patient's by themselves, clips and adds up, without drawing noise. The noise of all weights
is timed apart. Steps of both alternate, and the median of their ratios is printed. Seconds are of processor time, so that a busy
machine does not decide. The folder is not read.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

sys.path.pop(0)  # this folder's names

import numpy as np
import torch

from fedcli.learning.networks import registry
from fedcli.learning.samples import Samples
from fedcli.learning.training.local_training import LocalTraining
from fedcli.learning.training.mechanism import Mechanism
from fedcli.learning.training.private import PrivateTraining
from fedcli.plan import Augmentation, Network, Normalisation, Precision, Training
from fedcli.privacy.noise import SecretStream, round_to_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CPU = torch.device("cpu")
PATIENTS, IMAGES, SIZE = 8, 4, 96
NETWORK = Network(name="densenet121", normalisation=Normalisation.GROUP)


class LastStep:
    """Measures the last step of a training."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def event(self, text: str) -> None:
        """Ignore the line."""

    @contextmanager
    def track(self, _label: str, _total: int, _unit: str) -> Iterator[Callable[[int, str], None]]:
        """Yield a function that takes the time since it was called last."""
        before = time.process_time()

        def advance(_units: int, _note: str) -> None:
            nonlocal before
            now = time.process_time()
            self.seconds, before = now - before, now

        yield advance


def main() -> None:
    """Take steps of both in turn, then draw noise."""
    steps, settings = int(sys.argv[2]), Training(batch_size=PATIENTS * IMAGES, steps=2, precision=Precision(sys.argv[3]))
    samples = images()
    mechanism = Mechanism(noise=0.0, clipping=1.0, batch=PATIENTS, patients=PATIENTS, images_per_patient=IMAGES)
    plain, private = [], []
    for _ in range(steps):
        watch = LastStep()
        module = registry.build(NETWORK, 4)
        LocalTraining(module, samples, settings, Augmentation(), seed=0, rates=[1e-4], device=CPU).run(watch)
        plain.append(watch.seconds)
        module = registry.build(NETWORK, 4)
        PrivateTraining(module, samples, settings, Augmentation(), mechanism, rates=[1e-4], device=CPU).run(watch)
        private.append(watch.seconds)
    figures = {
        "plain": statistics.median(plain),
        "private": statistics.median(private),
        "ratio": statistics.median(mine / other for mine, other in zip(private, plain, strict=True)),
    }
    print(json.dumps(figures | noise(sum(parameter.numel() for parameter in module.parameters()))))


def images() -> Samples:
    """Return images of noise; what is on them does not change the time."""
    generator, num = np.random.default_rng(0), PATIENTS * IMAGES
    return Samples(
        images=generator.integers(0, 65536, (num, SIZE, SIZE)).astype(np.uint16),
        labels=np.arange(num, dtype=np.int64) % 4,
        units=np.arange(num, dtype=np.int64) // IMAGES,
        num_classes=4,
        patients=np.array([f"p{number // IMAGES}" for number in range(num)]),
    )


def noise(num: int) -> dict[str, float]:
    """Return how many values are drawn, and the seconds that it takes."""
    stream, values, seconds = SecretStream(bytes(32), "noise"), np.zeros(num), []
    for step in range(3):
        started = time.process_time()
        stream.add_normal(values, step, 1.0, threads=torch.get_num_threads())
        round_to_grid(values, 1.0)
        seconds.append(time.process_time() - started)
    return {"values": num, "noise": statistics.median(seconds)}


if __name__ == "__main__":
    main()

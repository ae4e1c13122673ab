"""fedcli's local training: `python fedcli.py FOLDER STEPS PRECISION` prints images/s, peak bytes, the batches' share as JSON.

On a GPU where there is one: the peak is then of its memory.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.pop(0)  # this file's own name

import torch

from fedcli.imaging.dataset import prepared_dataset
from fedcli.learning.networks import registry
from fedcli.learning.samples import Samples
from fedcli.learning.training.batch_loader import BatchLoader
from fedcli.learning.training.local_training import LocalTraining
from fedcli.plan import Augmentation, Network, Part, Precision, Training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Stopwatch:
    """Records when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def event(self, text: str) -> None:
        """Ignore the line."""

    @contextmanager
    def track(self, _label: str, _total: int, _unit: str) -> Iterator[Callable[[int, str], None]]:
        """Yield a function that records the time."""
        yield lambda units, _note: self.ends.append(time.perf_counter()) if units else None


def main() -> None:
    """Train for a number of steps after the first, then load batches without a network."""
    folder, steps = Path(sys.argv[1]) / "prepared", int(sys.argv[2])
    data = prepared_dataset.load(folder, prepared_dataset.describe(folder).cohort.preparation, (Part.VALIDATION, Part.TEST))
    samples = Samples(images=data.images, labels=data.labels, units=data.labels, num_classes=4)
    settings = Training(steps=steps + 1, precision=Precision(sys.argv[3]))
    network = registry.build(Network(), 4)
    watch = Stopwatch()
    LocalTraining(network, samples, settings, Augmentation(), seed=0, rates=[1e-4], device=DEVICE).run(watch)
    on_gpu = DEVICE.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    step = (watch.ends[-1] - watch.ends[0]) / steps
    loader = BatchLoader(samples=samples, training=replace(settings, steps=20), augmentation=Augmentation(), device=DEVICE)
    batches = loader.epoch(0)
    next(batches)
    started = time.perf_counter()
    drawn = sum(1 for _ in batches)
    if on_gpu:
        torch.cuda.synchronize()
    pipeline = (time.perf_counter() - started) / drawn / step
    print(json.dumps({"rate": 32 / step, "peak": peak, "pipeline": pipeline}))


if __name__ == "__main__":
    main()

"""A site's network and prepared data, for training and scoring."""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch

from fedcli import disk, tensors
from fedcli.errors import ConfigurationError
from fedcli.exchange.records import ValidationScore
from fedcli.learning.evaluation import inference, metrics
from fedcli.learning.evaluation.metrics import Predictions
from fedcli.learning.networks import batch_norm, registry, weights
from fedcli.learning.networks.precision import choose as choose_precision
from fedcli.learning.training.checkpoint import Checkpoint, TrainingIdentity
from fedcli.learning.training.data_parallel import SINGLE_PROCESS
from fedcli.plan import Part, Precision, Statistics
from fedcli.site.site_data import SiteData

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from fedcli.learning.samples import Samples
    from fedcli.learning.training.data_parallel import Replicas
    from fedcli.plan import Plan
    from fedcli.progress import Progress
    from fedcli.tensors import Arrays, Layout
    from fedcli.workspace import Workspace

TRAINING = "training"
"""The workspace's folder of unfinished trainings."""


class Learner(SiteData):
    """A site's network, with the data to train and score it.

    Attributes:
        replicas: This process, among those that train together.
        device: Where it computes.
        progress: Notified of batches and steps.
        module: The network, with the weights that were loaded or trained last.
    """

    def __init__(self, workspace: Workspace, plan: Plan, progress: Progress, replicas: Replicas = SINGLE_PROCESS) -> None:
        super().__init__(workspace, plan)
        self.progress = progress
        self.replicas = replicas
        self.device = choose_device(workspace.settings.device, replicas)
        if workspace.settings.threads:
            torch.set_num_threads(workspace.settings.threads)
        elif replicas.size > 1:
            torch.set_num_threads(max(torch.get_num_threads() // replicas.size, 1))
        self.module = registry.build(plan.network, len(plan.classes))

    @cached_property
    def layout(self) -> Layout:
        """The layout of a model file that fits the network."""
        return tensors.layout_of(weights.to_arrays(self.module))

    def load(self, path: Path) -> Arrays:
        """Load a model's file into the network, and return its arrays."""
        arrays = tensors.read(path)
        weights.load_arrays(self.module, arrays)
        return arrays

    def predict(self, samples: Samples, label: str) -> Predictions:
        """Return the network's predictions for every image of a part; there must be some."""
        label = f"{self.site}: {label}"
        probabilities = inference.probabilities(
            self.module, samples.images, device=self.device, progress=self.progress, label=label
        )
        return self.predictions(samples, probabilities)

    def predictions(self, samples: Samples, probabilities: NDArray[np.float64]) -> Predictions:
        """Return the probabilities of every image, (N, C), together with the truth."""
        dense = tuple(self.plan.classes.index(name) for name in self.plan.evaluation.dense)
        return Predictions(truth=samples.labels, probabilities=probabilities, dense=dense)

    def validate(self, label: str) -> ValidationScore:
        """Score the network on the validation patients."""
        samples = self.validation
        if not len(samples):
            return ValidationScore(patients=0, loss=None, kappa=None)
        images = self.predict(samples, label)
        cases = images.by_unit(samples.units)
        return ValidationScore(
            patients=len(cases.truth),
            loss=metrics.cross_entropy(images.truth, images.probabilities),
            kappa=metrics.kappa(cases.truth, cases.predicted, cases.num_classes),
        )

    @property
    def machine(self) -> str:
        """The device, number of processes and precision of training, which its bits depend on."""
        precision = choose_precision(self.plan.training.precision, self.device)
        processes = f" × {self.replicas.size}" if self.replicas.size > 1 else ""
        return f"{self.device}{processes}{'' if precision is Precision.FLOAT32 else f', {precision}'}"

    def checkpoint(self, name: str, start: Path, declared: int = 0) -> Checkpoint:
        """Return the workspace's checkpoint of a training that starts from a model's file; `declared` is N₀ of a private one."""
        identity = TrainingIdentity(
            plan=self.plan.digest,
            start=disk.measure(start).sha256,
            data=self.data.digest,
            device=self.machine,
            threads=torch.get_num_threads(),
            versions=", ".join(f"{package} {version(package)}" for package in ("fedcli", "numpy", "torch")),
            declared=declared,
        )
        return Checkpoint(self._workspace.path(TRAINING, name), identity, self.progress)

    def recalibrate(self, label: str) -> None:
        """Measure the BatchNorm statistics again on the training images, if the plan says so."""
        if self.plan.training.statistics is Statistics.RECALIBRATE:
            samples, size, label = self.samples(Part.TRAIN), self.plan.training.batch_size, f"{self.site}: {label}"
            batch_norm.recalibrate(self.module, samples, batch_size=size, device=self.device, progress=self.progress, label=label)


def choose_device(name: str, replicas: Replicas = SINGLE_PROCESS) -> torch.device:
    """Return the device of this name; `auto` is a GPU if there is one. Each of several processes uses its own GPU.

    Raises:
        ConfigurationError: There is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda" and replicas.size > 1:
            device = torch.device("cuda", replicas.local)
            torch.cuda.set_device(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        msg = f"device {name!r} cannot be used here: {str(error).splitlines()[0]}"
        raise ConfigurationError(msg, hint="set `device` in workspace.toml to auto or cpu") from error
    return device

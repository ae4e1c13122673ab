"""A site's network and prepared data, for training and scoring."""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedcli import disk, tensors, wire
from fedcli.disclosure.levels import level_of, published_kappa
from fedcli.errors import ConfigurationError, DataError
from fedcli.exchange.records import ValidationScore
from fedcli.imaging.dataset import prepared_dataset
from fedcli.learning.evaluation import inference, metrics
from fedcli.learning.evaluation.metrics import Predictions
from fedcli.learning.networks import batch_norm, registry, weights
from fedcli.learning.networks.precision import choose as choose_precision
from fedcli.learning.samples import Samples
from fedcli.learning.training.checkpoint import Checkpoint, TrainingIdentity
from fedcli.learning.training.data_parallel import SINGLE_PROCESS
from fedcli.plan import Part, Precision, Statistics, Unit

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.disclosure.levels import Level
    from fedcli.imaging.dataset.prepared_dataset import PreparedDataset
    from fedcli.learning.training.data_parallel import Replicas
    from fedcli.plan import Plan
    from fedcli.progress import Progress
    from fedcli.tensors import Arrays, Layout
    from fedcli.workspace import Workspace

TRAINING = "training"
"""The workspace's folder of unfinished trainings."""


class Learner:
    """A site's network, with the data to train and score it.

    Attributes:
        plan: The plan in force.
        site: The site's name.
        replicas: This process, among those that train together.
        device: Where it computes.
        progress: Notified of batches and steps.
        module: The network, with the weights that were loaded or trained last.
    """

    def __init__(self, workspace: Workspace, plan: Plan, progress: Progress, replicas: Replicas = SINGLE_PROCESS) -> None:
        self.plan = plan
        self.site = workspace.settings.name
        self.progress = progress
        self.replicas = replicas
        self.device = choose_device(workspace.settings.device, replicas)
        if workspace.settings.threads:
            torch.set_num_threads(workspace.settings.threads)
        elif replicas.size > 1:
            torch.set_num_threads(max(torch.get_num_threads() // replicas.size, 1))
        self.module = registry.build(plan.network, len(plan.classes))
        self._workspace = workspace

    @cached_property
    def layout(self) -> Layout:
        """The layout of a model file that fits the network."""
        return tensors.layout_of(weights.to_arrays(self.module))

    @cached_property
    def data(self) -> PreparedDataset:
        """The prepared data, checked against the plan."""
        return prepared_dataset.load(self._workspace.prepared_path, wire.digest(self.plan.preparation), self.plan.allow_empty)

    def samples(self, part: Part) -> Samples:
        """Return the images of one part, memory-mapped; a case is the plan's unit."""
        data = self.data
        rows = data.rows(part)
        patients = np.array(data.patients[rows], dtype=str)
        cases = patients if self.plan.unit is Unit.PATIENT else np.array(data.studies[rows], dtype=str)
        _, units = np.unique(cases, return_inverse=True)
        return Samples(
            images=data.images[rows],
            labels=data.labels[rows],
            units=units.astype(np.int64),
            num_classes=len(self.plan.classes),
            patients=patients,
        )

    @cached_property
    def validation(self) -> Samples:
        """The validation images; may be empty if the plan allows it."""
        return self.samples(Part.VALIDATION)

    @cached_property
    def test(self) -> Samples:
        """The test images; may be empty if the plan allows it."""
        return self.samples(Part.TEST)

    def level(self, part: Part) -> Level:
        """Return what is published about a part."""
        return level_of(self.data.cohort.part(part).patients, self.plan.evaluation.min_cell)

    def choice_kappa(self, score: ValidationScore) -> float | None:
        """Return the kappa by which a model is chosen: the one that may be published, since the choice is published too."""
        return published_kappa(score.kappa, self.level(Part.VALIDATION))

    @cached_property
    def training_patients(self) -> tuple[int, ...]:
        """The training patients of each class."""
        rows = self.data.rows(Part.TRAIN)
        pairs = set(zip(self.data.patients[rows], self.data.labels[rows].tolist(), strict=True))
        return tuple(sum(label == number for _, label in pairs) for number in range(len(self.plan.classes)))

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

    def checkpoint(self, name: str, start: Path) -> Checkpoint:
        """Return the workspace's checkpoint of a training that starts from a model's file."""
        identity = TrainingIdentity(
            plan=self.plan.digest,
            start=disk.measure(start).sha256,
            data=self.data.digest,
            device=self.machine,
            threads=torch.get_num_threads(),
            versions=", ".join(f"{package} {version(package)}" for package in ("fedcli", "numpy", "torch")),
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


def require_images(samples: Samples, site: str, part: Part) -> None:
    """Raise a DataError if a part that is needed has no images."""
    if not len(samples):
        msg = f"{site}: the prepared data have no {part} images"
        raise DataError(msg, hint="prepare more patients, or give an explicit split")

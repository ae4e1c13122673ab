"""The settings of private training, and what it cannot be combined with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from fedcli.errors import ConfigurationError
from fedcli.plan import ClassWeights, PrivateOptimizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from fedcli.plan import PatientPrivacy, Training


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """Noise, clipping and sampling of DP-SGD; all are public.

    Attributes:
        noise: σ, the noise's standard deviation as a multiple of the clipping bound; 0 adds none and promises nothing.
        clipping: C, the longest gradient of a patient; infinite clips none, which only training without noise can do.
        batch: The planned number of patients in a step, which is also the divisor.
        patients: N₀, the nominal number of the site's patients.
        images_per_patient: Images of a patient in a step, at most.
        augmentations: Views of each image.
        optimizer: What is done with a noisy gradient.
        momentum: β of SGD.
    """

    noise: float
    clipping: float
    batch: int
    patients: int
    images_per_patient: int = 4
    augmentations: int = 1
    optimizer: PrivateOptimizer = PrivateOptimizer.SGD
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.noise < math.inf or not self.clipping > 0 or (self.noise and math.isinf(self.clipping)):
            msg = f"noise {self.noise} and clipping {self.clipping}: expected a finite noise, and a finite clipping above 0"
            raise ConfigurationError(msg)
        if not 1 <= self.batch <= self.patients or self.images_per_patient < 1 or self.augmentations < 1:
            msg = (
                f"batch {self.batch} of {self.patients} patients, {self.images_per_patient} images, {self.augmentations} views: "
                "expected at least one of each, and no more patients in a batch than there are"
            )
            raise ConfigurationError(msg)

    @classmethod
    def planned(cls, settings: PatientPrivacy, patients: int) -> Mechanism:
        """Return the mechanism of a plan at a site that has declared so many training patients."""
        return cls(
            noise=settings.noise,
            clipping=settings.clipping,
            batch=settings.batch,
            patients=patients,
            images_per_patient=settings.images_per_patient,
            augmentations=settings.augmentations,
            optimizer=settings.optimizer,
            momentum=settings.momentum,
        )

    @property
    def sampling_rate(self) -> float:
        """q, the probability with which a step takes a patient."""
        return self.batch / self.patients

    @property
    def images_per_step(self) -> int:
        """The largest number of images, views counted apart, of a step with the planned number of patients."""
        return self.batch * self.images_per_patient * self.augmentations

    def steps_per_epoch(self, steps: int) -> int:
        """Return the number of steps of an epoch: the plan's, or if that is 0 ceil(patients / batch)."""
        return steps or -(-self.patients // self.batch)


def require_unchanged(module: nn.Module, before: Mapping[str, Tensor]) -> None:
    """Raise a ConfigurationError if a buffer has changed in training: it would leave the site without noise."""
    for name, buffer in module.named_buffers():
        if not torch.equal(buffer, before[name]):
            msg = f"private training cannot use this network: {name} follows the images, and has no noise; nothing may be used"
            raise ConfigurationError(msg, hint="the coordinator plans a network without running statistics")


def require_private(module: nn.Module, training: Training) -> None:
    """Raise a ConfigurationError for a network or a setting with which one patient would reach the weights around the noise."""
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm):
            msg = f"private training cannot use batch normalisation ({name}): it mixes patients, and its statistics have no noise"
            raise ConfigurationError(msg, hint='set network.normalisation = "group"')
    if training.class_weights is not ClassWeights.NONE:
        msg = (
            f'private training cannot use training.class_weights = "{training.class_weights}": all patients\' labels are in them'
        )
        raise ConfigurationError(msg, hint='set training.class_weights = "none"')
    if training.clip_gradient:
        msg = (
            f"private training cannot use training.clip_gradient = {training.clip_gradient:g}: each patient's gradient is clipped"
        )
        raise ConfigurationError(msg, hint="set training.clip_gradient = 0")

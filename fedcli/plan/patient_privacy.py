"""What a plan promises to the patients that train, and what it cannot be combined with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli.plan.choices import (
    ClassWeights,
    Normalisation,
    PrivateOptimizer,
    Protection,
    Sampling,
    Weights,
)
from fedcli.wire import STRICT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.plan.plan import Plan


_PROMISE = (
    "This plan promises {guarantee}, over all rounds together and with all images of the patient; before a round would cost "
    "more, the site stops. Training adds noise {plan.noise:g} to gradients clipped to {plan.clipping:g}, with {plan.batch} "
    "patients in a step on average; the site declares its number of training patients, which becomes public. Not protected by "
    "that noise: validation and test patients, from whom kappas, losses and the choice of the best model are computed; the data "
    "set record; the first model, if it was trained on the same patients. Local-only and fine-tuned models are trained without "
    "noise, and stay in the workspace."
)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PatientPrivacy:
    """Differential privacy of a site's training patients; docs/privacy.md defines the promise.

    Attributes:
        mechanism: How the promise is kept; the other settings count only if there is one.
        epsilon: ε, the budget of all rounds together: a site stops before it is crossed.
        delta: δ.
        noise: σ, the noise's standard deviation as a multiple of the clipping bound.
        clipping: C, the longest gradient of a patient.
        batch: Patients in a step on average, which is also the divisor.
        images_per_patient: Images of a patient in a step, at most.
        augmentations: Views of each image.
        optimizer: What is done with a noisy gradient.
        momentum: β of SGD.
    """

    mechanism: Protection = Protection.NONE
    epsilon: Annotated[float, Field(ge=0.01, le=200)] = 8.0
    delta: Annotated[float, Field(gt=0, le=0.1)] = 1e-5
    noise: Annotated[float, Field(ge=0.2, le=1000)] = 1.0
    clipping: Annotated[float, Field(gt=0, le=100_000)] = 1.0
    batch: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    images_per_patient: Annotated[int, Field(ge=1, le=64)] = 4
    augmentations: Annotated[int, Field(ge=1, le=64)] = 1
    optimizer: PrivateOptimizer = PrivateOptimizer.SGD
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9

    @property
    def promised(self) -> bool:
        """Whether the plan makes a promise."""
        return self.mechanism is not Protection.NONE

    @property
    def guarantee(self) -> str:
        """The promise in a few words."""
        return f"epsilon {self.epsilon:g} at delta {self.delta:g} for each training patient"

    @property
    def promise(self) -> str:
        """The promise as the operator of a site reads it before approving the plan; empty if there is none."""
        return _PROMISE.format(guarantee=self.guarantee, plan=self) if self.promised else ""


def steps_per_epoch(plan: Plan, patients: int) -> int:
    """Return the number of private steps of an epoch at a site that has declared so many training patients."""
    return plan.training.steps or -(-patients // plan.privacy.batch)


def conflicts(plan: Plan) -> Iterator[str]:
    """Yield each setting that would break the promise, with the reason; none if the plan makes no promise."""
    if not plan.privacy.promised:
        return
    training, weights = plan.training, plan.aggregation.weights
    if plan.network.normalisation is not Normalisation.GROUP:
        yield (
            f'network.normalisation = "{plan.network.normalisation}": BatchNorm mixes the patients of a batch, and its '
            'statistics have no noise; set "group"'
        )
    if training.sampling is not Sampling.SHUFFLED:
        yield (f'training.sampling = "{training.sampling}": each patient is drawn independently of its category; set "shuffled"')
    if training.class_weights is not ClassWeights.NONE:
        yield f'training.class_weights = "{training.class_weights}": all patients\' labels are in them; set "none"'
    if training.clip_gradient:
        yield f"training.clip_gradient = {training.clip_gradient:g}: each patient's gradient is clipped already; set 0"
    if weights in {Weights.IMAGES, Weights.PATIENTS}:
        yield f'aggregation.weights = "{weights}": the numbers of images and patients are withheld; set "steps" or "equal"'

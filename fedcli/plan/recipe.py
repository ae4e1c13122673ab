"""The recipe of the study: from a mammogram to a trained model, at every site alike."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.plan.choices import Aspect, Intensity, OptimizerState
from fedcli.wire import STRICT


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Images:
    """From a mammogram to the network's input.

    Attributes:
        size: Side of the square image, in pixels.
        aspect: How the image becomes square.
        intensity: What becomes [0, 1].
    """

    size: Annotated[int, Field(ge=16, le=1024)] = 224
    aspect: Aspect = Aspect.STRETCH
    intensity: Intensity = Intensity.MIN_MAX


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Split:
    """Expected fraction of patients in each part; the three sum to 1."""

    train: Annotated[float, Field(ge=0, le=1)] = 0.7
    validation: Annotated[float, Field(ge=0, le=1)] = 0.1
    test: Annotated[float, Field(ge=0, le=1)] = 0.2

    @model_validator(mode="after")
    def _sums_to_one(self) -> Split:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:  # noqa: PLR2004 - decimal fractions do not sum exactly
            msg = f"train + validation + test must be 1, found {total:g}"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Network:
    """The classifier, by name: no code travels."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")] = "densenet121"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Training:
    """LocalTraining of Algorithm 1.

    Attributes:
        batch_size: Images in a mini-batch, every category equally represented.
        epochs: Passes of ceil(images / batch_size) steps in one round.
        rate: Adam's initial learning rate.
        rate_decay: Factor on the rate after every `rate_step` rounds.
        rate_step: Global rounds between two decays.
        weight_decay: Adam's L2 penalty.
        optimizer_state: Whether Adam's moments survive the round.
    """

    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    epochs: Annotated[int, Field(ge=1, le=100)] = 1
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    rate_decay: Annotated[float, Field(gt=0, le=1)] = 0.5
    rate_step: Annotated[int, Field(ge=1, le=9999)] = 100
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-5
    optimizer_state: OptimizerState = OptimizerState.RESET

    def rate_in(self, round_number: int) -> float:
        """Return the learning rate of a global round, counted from 1."""
        return float(self.rate * self.rate_decay ** ((round_number - 1) // self.rate_step))


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Augmentation:
    """Random changes of training images.

    Attributes:
        flip_horizontal: Mirror left and right, half the time.
        flip_vertical: Mirror top and bottom, half the time.
        rotation: Largest angle in degrees, to either side.
        intensity_shift: Largest value added to all pixels of an image in [0, 1], to either side.
    """

    flip_horizontal: bool = True
    flip_vertical: bool = True
    rotation: Annotated[float, Field(ge=0, le=180)] = 45.0
    intensity_shift: Annotated[float, Field(ge=0, le=1)] = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Finetuning:
    """The paper's second step: local epochs from a site's best federated model, at a rate of its own."""

    epochs: Annotated[int, Field(ge=1, le=1000)] = 10
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-5

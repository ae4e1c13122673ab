"""The recipe of the study: from a mammogram to a trained model, at every site alike."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.plan.choices import (
    Aspect,
    Beginning,
    ClassWeights,
    Frames,
    Intensity,
    Loss,
    Normalisation,
    OptimizerState,
    Precision,
    Presentation,
    Sampling,
    Statistics,
    Tomosynthesis,
)
from fedcli.wire import STRICT


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Images:
    """From a mammogram to the network's input.

    Attributes:
        size: Side of the square image, in pixels.
        aspect: How the image becomes square.
        intensity: What becomes [0, 1].
        presentation: Which images are taken: for presentation, for processing, or any.
        tomosynthesis: When a volume is taken.
        frames: How a volume becomes one image.
    """

    size: Annotated[int, Field(ge=16, le=1024)] = 224
    aspect: Aspect = Aspect.STRETCH
    intensity: Intensity = Intensity.MIN_MAX
    presentation: Presentation = Presentation.FOR_PRESENTATION
    tomosynthesis: Tomosynthesis = Tomosynthesis.WITHOUT_2D
    frames: Frames = Frames.MIDDLE


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
    """The classifier, by name: no code travels.

    Attributes:
        name: `small`, one of torchvision's classifiers, or one that every site has installed.
        weights: What φ(0) is, but for its last layer, which is drawn from the seed.
        normalisation: Whether GroupNorm takes BatchNorm's place.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")] = "densenet121"
    weights: Beginning = Beginning.NONE
    normalisation: Normalisation = Normalisation.BATCH

    @model_validator(mode="after")
    def _normalised_as_pretrained(self) -> Network:
        if self.weights is Beginning.IMAGENET and self.normalisation is Normalisation.GROUP:
            msg = 'ImageNet weights go with normalisation = "batch", which they were trained with'
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Training:
    """LocalTraining of Algorithm 1.

    Attributes:
        batch_size: Images in a mini-batch.
        epochs: Epochs in one round.
        steps: Steps of an epoch; 0 takes ceil(images / batch_size), as the paper has it.
        sampling: How mini-batches are drawn.
        loss: What is minimised.
        class_weights: What an image's loss is multiplied by.
        label_smoothing: Share of every label that is spread evenly over all classes.
        rate: Adam's initial learning rate.
        rate_decay: Factor on the rate after every `rate_step` rounds.
        rate_step: Global rounds between two decays.
        weight_decay: Adam's L2 penalty.
        clip_gradient: The largest norm of a gradient, to which a longer one is scaled; 0 clips none.
        proximal: μ of FedProx in the rounds; 0 leaves its term out.
        statistics: What becomes of BatchNorm.
        optimizer_state: Whether Adam's moments survive the round.
        precision: The arithmetic.
    """

    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    epochs: Annotated[int, Field(ge=1, le=100)] = 1
    steps: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    sampling: Sampling = Sampling.BALANCED
    loss: Loss = Loss.CROSS_ENTROPY
    class_weights: ClassWeights = ClassWeights.NONE
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    rate_decay: Annotated[float, Field(gt=0, le=1)] = 0.5
    rate_step: Annotated[int, Field(ge=1, le=9999)] = 100
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-5
    clip_gradient: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    proximal: Annotated[float, Field(ge=0, le=1000)] = 0.0
    statistics: Statistics = Statistics.AVERAGE
    optimizer_state: OptimizerState = OptimizerState.RESET
    precision: Precision = Precision.FLOAT32

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
    """The paper's second step: local epochs from a site's best federated model, at a rate of its own.

    Attributes:
        epochs: Epochs, as long as those of a round.
        rate: Adam's learning rate in all of them.
    """

    epochs: Annotated[int, Field(ge=1, le=1000)] = 10
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-5

"""The recipe of the study, the same at every site: from a mammogram to a trained model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.plan.choices import (
    Aspect,
    Beginning,
    ClassWeights,
    Crop,
    Differing,
    Exams,
    Frames,
    Intensity,
    Loss,
    Modality,
    ModifiedViews,
    Normalisation,
    OptimizerState,
    Orientation,
    Precision,
    Presentation,
    Sampling,
    Sex,
    Statistics,
    Tomosynthesis,
    ViewPosition,
)
from fedcli.wire import STRICT, absent_means

QUANTILES = 64
MAX_AGE = 120
"""In years."""
Quantile = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Images:
    """From a mammogram to the network's input.

    Attributes:
        size: Side of the square image, in pixels.
        aspect: How the image becomes square.
        intensity: What is scaled to [0, 1].
        presentation: Which images are taken.
        tomosynthesis: When a volume is taken.
        views: The views that are taken, and images that state none; if there are none here, all.
        modified_views: Whether spot, magnification and other modified views, specimens and the like are taken too.
        modalities: The modalities that are taken.
        sex: The sexes whose images are taken; if there are none here, all, and images that state none.
        age: The least and the greatest age that is taken, in completed years; if there are none here, all.
        differing: What the class is where the label table gives the sides or exams of a patient different ones.
        exams: Which of a patient's exams are taken.
        frames: How a volume becomes one image.
        crop: What of the image is taken.
        orientation: How the image lies.
        reference: For `intensity = "reference"`: the reference's quantiles at 64 equal steps, rising from 0 to 1.
    """

    size: Annotated[int, Field(ge=16, le=1024)] = 224
    aspect: Aspect = Aspect.STRETCH
    intensity: Intensity = Intensity.MIN_MAX
    presentation: Presentation = Presentation.FOR_PRESENTATION
    tomosynthesis: Tomosynthesis = Tomosynthesis.WITHOUT_2D
    frames: Frames = Frames.MIDDLE
    views: Annotated[tuple[ViewPosition, ...], Field(max_length=len(ViewPosition), fail_fast=True), absent_means(())] = ()
    modified_views: Annotated[ModifiedViews, absent_means(ModifiedViews.INCLUDE)] = ModifiedViews.EXCLUDE
    modalities: Annotated[
        tuple[Modality, ...], Field(min_length=1, max_length=len(Modality), fail_fast=True), absent_means((Modality.MG,))
    ] = (Modality.MG,)
    sex: Annotated[tuple[Sex, ...], Field(max_length=len(Sex), fail_fast=True), absent_means(())] = ()
    age: Annotated[
        tuple[Annotated[int, Field(ge=0, le=MAX_AGE)], ...], Field(max_length=2, fail_fast=True), absent_means(())
    ] = ()
    differing: Annotated[Differing, absent_means(Differing.EXCLUDE)] = Differing.EXCLUDE
    exams: Annotated[Exams, absent_means(Exams.ALL)] = Exams.ALL
    crop: Annotated[Crop, absent_means(Crop.NONE)] = Crop.NONE
    orientation: Annotated[Orientation, absent_means(Orientation.AS_STORED)] = Orientation.AS_STORED
    reference: Annotated[tuple[Quantile, ...], Field(max_length=QUANTILES, fail_fast=True), absent_means(())] = ()

    @model_validator(mode="after")
    def _has_a_reference(self) -> Images:
        expected = QUANTILES if self.intensity is Intensity.REFERENCE else 0
        if len(self.reference) != expected or list(self.reference) != sorted(self.reference):
            msg = f'reference must be {QUANTILES} rising numbers for intensity = "reference", and [] otherwise'
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _has_a_range_of_ages(self) -> Images:
        if self.age and (len(self.age) == 1 or self.age[0] > self.age[1]):
            msg = f"age must be [least, greatest] in years, or [] for all, found {list(self.age)}"
            raise ValueError(msg)
        return self


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
        weights: What φ(0) is: drawn from the seed; ImageNet weights, with a last layer drawn from the seed; or what a file holds.
        normalisation: Whether GroupNorm replaces BatchNorm.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")] = "densenet121"
    weights: Beginning = Beginning.NONE
    normalisation: Normalisation = Normalisation.BATCH

    @model_validator(mode="after")
    def _is_consistent(self) -> Network:
        if self.weights is Beginning.IMAGENET and self.normalisation is Normalisation.GROUP:
            msg = 'ImageNet weights were trained with normalisation = "batch" and need it'
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Training:
    """LocalTraining of Algorithm 1.

    Attributes:
        batch_size: Images in a mini-batch.
        epochs: Epochs in one round.
        steps: Steps per epoch; 0 is ceil(images / batch_size), as in the paper.
        sampling: How mini-batches are drawn.
        loss: What is minimised, the mean over the images of a mini-batch.
        class_weights: The factor on an image's loss.
        label_smoothing: Share ε of every label that is spread evenly over all C classes: (1 - ε) y + ε / C.
        rate: Adam's initial learning rate; β is 0.9 and 0.999, ε is 1e-8.
        rate_decay: Factor on the rate after every `rate_step` rounds.
        rate_step: Global rounds between two decays.
        weight_decay: Adam's L2 penalty, a term λθ of the gradient, added after clipping.
        clip_gradient: Longer gradients, FedProx's term included, are scaled to this norm; 0 clips none.
        proximal: μ of FedProx: in rounds, not in `finetune`, μ/2 ‖w - φ(t-1)‖² over the trained weights is minimised too. It is
            not part of the recorded loss; 0 leaves it out.
        statistics: How BatchNorm's layers are shared.
        optimizer_state: Whether Adam's moments are kept from round to round.
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

    def steps_per_epoch(self, num_images: int) -> int:
        """Return the number of steps of an epoch over the training images of a site."""
        return self.steps or -(-num_images // self.batch_size)

    def rate_in(self, round_number: int) -> float:
        """Return the learning rate of a global round, counted from 1."""
        return float(self.rate * self.rate_decay ** ((round_number - 1) // self.rate_step))


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Augmentation:
    """Random changes of training images.

    Attributes:
        flip_horizontal: Mirror left and right for half of the images.
        flip_vertical: Mirror top and bottom for half of the images.
        rotation: Largest angle in degrees, to either side.
        intensity_shift: Largest value added to all pixels of an image in [0, 1], to either side.
    """

    flip_horizontal: bool = True
    flip_vertical: bool = True
    rotation: Annotated[float, Field(ge=0, le=180)] = 45.0
    intensity_shift: Annotated[float, Field(ge=0, le=1)] = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Finetuning:
    """The paper's second step: local epochs from a site's best federated model.

    Attributes:
        epochs: Number of epochs, each with as many steps as in a round.
        rate: Adam's learning rate in all of them.
    """

    epochs: Annotated[int, Field(ge=1, le=1000)] = 10
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-5

"""The plan: every setting that all parties of a federation share, validated once.

The defaults are the published study's recipe; `fedcli init --template` prints them with comments that tell which values are the
paper's and which are ours. Every number has a bound, so that a hostile plan cannot exhaust a site's machine.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli import toml_file, wire
from fedcli.wire import STRICT, Digest, ShortText

if TYPE_CHECKING:
    from pathlib import Path

MAX_STEPS = (1 << 29) - 1
"""Below 2**29 the product of a step count and a float32 is exact in float64 (design, section 5)."""
MAX_BATCH_PIXELS = 1 << 26

ClassName = Annotated[str, Field(min_length=1, max_length=64)]


class Unit(StrEnum):
    """What is scored as one case: the mean over all images of a patient (the paper) or of a study."""

    PATIENT = "patient"
    STUDY = "study"


class Part(StrEnum):
    """The parts into which a site's patients are divided."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Aspect(StrEnum):
    """How an image becomes square: stretched (the paper) or padded with zeros on the right or at the bottom."""

    STRETCH = "stretch"
    PAD = "pad"


class Intensity(StrEnum):
    """What becomes [0, 1]: each image's own minimum and maximum, or the range of its stored bits."""

    MIN_MAX = "min-max"
    STORED_RANGE = "stored-range"


class OptimizerState(StrEnum):
    """Whether Adam's moments start anew each round or are kept in the workspace (they are never uploaded)."""

    RESET = "reset"
    KEEP = "keep"


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


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Aggregation:
    """When the coordinator closes a round.

    Attributes:
        quorum: Updates that suffice once the deadline has passed; 0 waits for every site (the paper).
        deadline_hours: Hours from the opening of a round to its deadline; 0 sets none.
    """

    quorum: Annotated[int, Field(ge=0, le=10_000)] = 0
    deadline_hours: Annotated[float, Field(ge=0, le=8760)] = 0.0

    @model_validator(mode="after")
    def _go_together(self) -> Aggregation:
        if (self.quorum > 0) != (self.deadline_hours > 0):
            msg = "quorum and deadline_hours go together: set both, or neither to wait for every site"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Evaluation:
    """How test results are stated.

    Attributes:
        resamples: Bootstrap resamples of patients behind each 95 % interval.
        permutations: Random exchanges behind the p-value of a comparison of two models.
        dense: The classes that count as dense, of the plan's; none leaves that metric out.
        min_cell: Cells of a confusion matrix with fewer cases, but for none, are not published; 0 publishes all.
    """

    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    permutations: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    dense: Annotated[tuple[ClassName, ...], Field(max_length=64)] = ("c", "d")
    min_cell: Annotated[int, Field(ge=0, le=1000)] = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Limits:
    """What a party accepts at most from another.

    Attributes:
        steps: Largest number of local steps in one round.
        model_mb: Largest artifact, in units of 10**6 bytes.
    """

    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 1_000_000
    model_mb: Annotated[int, Field(ge=1, le=100_000)] = 4000


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Preparation:
    """The part of a plan that decides what `prepare` writes; prepared data name its digest."""

    classes: tuple[str, ...]
    images: Images
    split: Split
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Plan:
    """Everything that the parties of a federation agree on.

    Attributes:
        name: What the federation is called.
        seed: Seeds the split, the initial weights and every random choice of training.
        rounds: T of Algorithm 1.
        classes: The categories, in their order; the kappa is always over all of them.
        unit: What is scored as one case.
        allow_empty: Parts that a site may lack (validation, test).
    """

    name: ShortText
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    rounds: Annotated[int, Field(ge=1, le=9999)] = 300
    classes: Annotated[tuple[ClassName, ...], Field(min_length=2, max_length=64)] = ("a", "b", "c", "d")
    unit: Unit = Unit.PATIENT
    allow_empty: Annotated[tuple[Part, ...], Field(max_length=2)] = ()
    images: Images = field(default_factory=Images)
    split: Split = field(default_factory=Split)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)
    augmentation: Augmentation = field(default_factory=Augmentation)
    finetuning: Finetuning = field(default_factory=Finetuning)
    aggregation: Aggregation = field(default_factory=Aggregation)
    evaluation: Evaluation = field(default_factory=Evaluation)
    limits: Limits = field(default_factory=Limits)

    @model_validator(mode="after")
    def _hangs_together(self) -> Plan:
        if len(set(self.classes)) != len(self.classes):
            msg = f"classes must differ from one another, found {', '.join(self.classes)}"
            raise ValueError(msg)
        if unknown := [name for name in self.evaluation.dense if name not in self.classes]:
            msg = f"evaluation.dense may name classes of the plan ({', '.join(self.classes)}), found {', '.join(unknown)}"
            raise ValueError(msg)
        if Part.TRAIN in self.allow_empty:
            msg = "allow_empty may name validation and test; a site without training images has no part in training"
            raise ValueError(msg)
        if self.training.batch_size * self.images.size**2 > MAX_BATCH_PIXELS:
            msg = f"training.batch_size × images.size² must be at most {MAX_BATCH_PIXELS} pixels"
            raise ValueError(msg)
        return self

    @property
    def preparation(self) -> Preparation:
        """The settings of `prepare`."""
        return Preparation(classes=self.classes, images=self.images, split=self.split, seed=self.seed)

    @property
    def digest(self) -> Digest:
        """SHA-256 of the plan's encoding: what a site's operator approves."""
        return wire.digest(self)


def template() -> str:
    """Return the commented plan with every setting at its default."""
    return files("fedcli").joinpath("plan_template.toml").read_text(encoding="utf-8")


def load(path: Path) -> Plan:
    """Read and validate a plan.

    Raises:
        ConfigurationError: The file is missing, is not TOML, or has unknown keys, wrong types or values out of range; the message
            names every key with its line and what is allowed.
    """
    return toml_file.load(Plan, path, hint="fedcli init --template prints a plan with every setting explained")

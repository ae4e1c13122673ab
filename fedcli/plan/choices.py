"""What a plan's settings choose among."""

from __future__ import annotations

from enum import StrEnum


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
    """What becomes [0, 1]: each image's own range, that of its stored bits, its file's window, or every level's rank."""

    MIN_MAX = "min-max"
    STORED_RANGE = "stored-range"
    WINDOW = "window"
    EQUALIZED = "equalized"


class Frames(StrEnum):
    """What becomes one image of several frames: the middle one, or their mean or maximum at every pixel."""

    MIDDLE = "middle"
    MEAN = "mean"
    MAXIMUM = "maximum"


class Tomosynthesis(StrEnum):
    """When a tomosynthesis volume is taken: always, where the study has no 2-D image of that side and view, or never."""

    ALWAYS = "always"
    WITHOUT_2D = "without-2d"
    NEVER = "never"


class Presentation(StrEnum):
    """Which images are taken, of those whose files tell: what the radiologist sees, what the detector gave, or both."""

    FOR_PRESENTATION = "for-presentation"
    FOR_PROCESSING = "for-processing"
    ANY = "any"


class Beginning(StrEnum):
    """What the first global model is: drawn from the plan's seed (the paper does not say), or pretrained on ImageNet."""

    NONE = "none"
    IMAGENET = "imagenet"


class Normalisation(StrEnum):
    """How a network normalises inside: by the batch where it was made so (the paper's DenseNet), or by groups of channels."""

    BATCH = "batch"
    GROUP = "group"


class OptimizerState(StrEnum):
    """Whether Adam's moments start anew each round or are kept in the workspace (they are never uploaded)."""

    RESET = "reset"
    KEEP = "keep"


class Precision(StrEnum):
    """The arithmetic of training; weights, gradients and losses are float32 either way.

    bfloat16 is autocast: convolutions and matrices. `auto` takes it where the processor or GPU has it in hardware.
    """

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Sampling(StrEnum):
    """How mini-batches are drawn: every category equally represented in each (the paper), or from all images shuffled."""

    BALANCED = "balanced"
    SHUFFLED = "shuffled"


class Loss(StrEnum):
    """What training minimises (`fedcli.learning.training.losses`): the paper's, or one that knows the order of the classes."""

    CROSS_ENTROPY = "cross-entropy"
    ORDINAL = "ordinal"


class ClassWeights(StrEnum):
    """What an image's loss is multiplied by: nothing (the paper), or the inverse frequency of its category at the site."""

    NONE = "none"
    INVERSE_FREQUENCY = "inverse-frequency"


class Statistics(StrEnum):
    """What becomes of BatchNorm: averaged like all else (the paper), kept at the site (FedBN), or measured anew at each site."""

    AVERAGE = "average"
    LOCAL = "local"
    RECALIBRATE = "recalibrate"


class Encoding(StrEnum):
    """How the weights of an update are written (`fedcli.encodings`); float32 loses nothing."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


class Packing(StrEnum):
    """How an update's file is compressed without loss (`fedcli.packing`)."""

    NONE = "none"
    ZSTD = "zstd"


class Rule(StrEnum):
    """How the sites' deltas become one step of the global model."""

    MEAN = "mean"
    MOMENTUM = "momentum"
    ADAM = "adam"
    YOGI = "yogi"
    MEDIAN = "median"
    TRIMMED_MEAN = "trimmed-mean"
    KRUM = "krum"


STATEFUL = frozenset({Rule.MOMENTUM, Rule.ADAM, Rule.YOGI})
"""The rules whose server remembers something from round to round."""


class Weights(StrEnum):
    """What a delta is weighed by: the site's local steps (the paper), training images or patients, or one site like another."""

    STEPS = "steps"
    IMAGES = "images"
    PATIENTS = "patients"
    EQUAL = "equal"

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
    """What becomes [0, 1]: each image's own minimum and maximum, or the range of its stored bits."""

    MIN_MAX = "min-max"
    STORED_RANGE = "stored-range"


class OptimizerState(StrEnum):
    """Whether Adam's moments start anew each round or are kept in the workspace (they are never uploaded)."""

    RESET = "reset"
    KEEP = "keep"


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

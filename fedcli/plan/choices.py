"""The choices for a plan's settings."""

from __future__ import annotations

from enum import StrEnum


class Unit(StrEnum):
    """What is scored as one case: all images of a patient (the paper), or of a study."""

    PATIENT = "patient"
    STUDY = "study"


class Part(StrEnum):
    """The parts into which a site's patients are divided."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Aspect(StrEnum):
    """How an image becomes square: stretched (the paper), or padded with zeros on the right or at the bottom."""

    STRETCH = "stretch"
    PAD = "pad"


class Intensity(StrEnum):
    """What is scaled to [0, 1]: an image's own range, the range of its stored bits, its window, or the ranks of its levels.

    `reference` gives the ranks the distribution of a reference that the plan carries.
    """

    MIN_MAX = "min-max"
    STORED_RANGE = "stored-range"
    WINDOW = "window"
    EQUALIZED = "equalized"
    REFERENCE = "reference"


class Frames(StrEnum):
    """How several frames become one image: the middle frame, or the mean or maximum at every pixel."""

    MIDDLE = "middle"
    MEAN = "mean"
    MAXIMUM = "maximum"


class Tomosynthesis(StrEnum):
    """When a tomosynthesis volume is taken: always, if the study has no 2-D image of that side and view, or never."""

    ALWAYS = "always"
    WITHOUT_2D = "without-2d"
    NEVER = "never"


class ViewPosition(StrEnum):
    """The views of mammography (PS3.16 CID 4014) that a prepared data set states."""

    CC = "CC"
    MLO = "MLO"
    ML = "ML"
    LM = "LM"
    LMO = "LMO"
    XCCL = "XCCL"
    XCCM = "XCCM"
    FB = "FB"
    SIO = "SIO"
    ISO = "ISO"


class Modality(StrEnum):
    """Modalities (0008,0060) that mammograms come in: MG, or DX and CR where the body part is the breast."""

    MG = "MG"
    DX = "DX"
    CR = "CR"


class Sex(StrEnum):
    """Patient's Sex (0010,0040, PS3.3 C.7.1.1)."""

    FEMALE = "F"
    MALE = "M"
    OTHER = "O"


class Differing(StrEnum):
    """What happens where the label table gives the sides or exams of a patient different classes.

    All are left out, all have the highest class, or each image has that of its side and exam.
    """

    EXCLUDE = "exclude"
    HIGHER = "higher"
    BY_IMAGE = "by-image"


class Exams(StrEnum):
    """Which of a patient's exams with a label are taken: all, or the first or last by date."""

    ALL = "all"
    FIRST = "first"
    LAST = "last"


class Crop(StrEnum):
    """What of an image is taken: all, or the bounding box of the breast (`fedcli.imaging.harmonisation`)."""

    NONE = "none"
    BREAST = "breast"


class Orientation(StrEnum):
    """How an image lies: as it is stored, or mirrored where needed so that the chest wall is on the left."""

    AS_STORED = "as-stored"
    CHEST_WALL_LEFT = "chest-wall-left"


class ModifiedViews(StrEnum):
    """Whether images are left out that are not ordinary views of a whole breast (`fedcli.imaging.dicom.screening`)."""

    EXCLUDE = "exclude"
    INCLUDE = "include"


class Presentation(StrEnum):
    """Which images are taken: those for the radiologist, those from the detector, or both; a file that does not say is taken."""

    FOR_PRESENTATION = "for-presentation"
    FOR_PROCESSING = "for-processing"
    ANY = "any"


class Beginning(StrEnum):
    """The first global model: drawn from the plan's seed (the paper does not say), pretrained on ImageNet, or a file's."""

    NONE = "none"
    IMAGENET = "imagenet"
    FILE = "file"


class Normalisation(StrEnum):
    """How a network normalises: by the batch, if it has BatchNorm (the paper's DenseNet), or by groups of channels."""

    BATCH = "batch"
    GROUP = "group"


class OptimizerState(StrEnum):
    """Whether Adam's moments are reset in each round or kept in the workspace; they are never uploaded."""

    RESET = "reset"
    KEEP = "keep"


class Precision(StrEnum):
    """The arithmetic of training; weights, gradients and losses are float32 in any case.

    bfloat16 applies to convolutions and matrix products (autocast). `auto` uses it if the processor or GPU has it in hardware.
    """

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Sampling(StrEnum):
    """How mini-batches are drawn: with all categories equally represented (the paper), or from all images shuffled."""

    BALANCED = "balanced"
    SHUFFLED = "shuffled"


class Loss(StrEnum):
    """The loss (`fedcli.learning.training.losses`): the paper's, or one that uses the order of the classes."""

    CROSS_ENTROPY = "cross-entropy"
    ORDINAL = "ordinal"


class ClassWeights(StrEnum):
    """The factor on an image's loss: none (the paper), or the inverse frequency of its category at the site.

    Meant for shuffled batches: in balanced ones, rare categories would count twice.
    """

    NONE = "none"
    INVERSE_FREQUENCY = "inverse-frequency"


class Statistics(StrEnum):
    """BatchNorm layers: averaged like all others (the paper), kept at the site (FedBN), or with statistics measured again."""

    AVERAGE = "average"
    LOCAL = "local"
    RECALIBRATE = "recalibrate"


class Choice(StrEnum):
    """Which of the models that were scored on validation patients is the best.

    "within-error" takes the newest one whose kappa is at most a standard error below the highest, as Breiman et al. (1984, 3.4.3)
    choose the simplest tree: among many models that were scored on few patients, the highest kappa is luck. Where no kappa is
    above 0, losses decide. "smoothed" takes the one with the highest mean of its kappa and those of the two candidates before it
    (`measures.smoothed`), "lowest-loss" the one with the lowest loss. "highest" is the paper's choice.
    """

    WITHIN_ERROR = "within-error"
    SMOOTHED = "smoothed"
    LOWEST_LOSS = "lowest-loss"
    HIGHEST = "highest"


class Encoding(StrEnum):
    """How the weights of an update are written (`fedcli.encodings`); float32 is lossless."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


class Packing(StrEnum):
    """How an update's file is compressed without loss (`fedcli.packing`)."""

    NONE = "none"
    ZSTD = "zstd"


class Rule(StrEnum):
    """How the sites' deltas become one step of the global model (`fedcli.aggregation`)."""

    MEAN = "mean"
    MOMENTUM = "momentum"
    ADAM = "adam"
    YOGI = "yogi"
    AVERAGED = "averaged"
    MEDIAN = "median"
    TRIMMED_MEAN = "trimmed-mean"
    KRUM = "krum"


STATEFUL = frozenset({Rule.MOMENTUM, Rule.ADAM, Rule.YOGI, Rule.AVERAGED})
"""The rules that carry a state from round to round."""


class Norms(StrEnum):
    """What clipping and Krum measure of a delta: its trained weights, or also BatchNorm's statistics, nearly all of its norm."""

    TRAINED = "trained"
    ALL = "all"


class Weights(StrEnum):
    """The weight of a delta: the site's local steps (the paper), its training images or patients, or the same for every site."""

    STEPS = "steps"
    IMAGES = "images"
    PATIENTS = "patients"
    EQUAL = "equal"


class Protection(StrEnum):
    """Whether the patients that train have a promise of differential privacy, and by which mechanism (docs/privacy.md)."""

    NONE = "none"
    PATIENT_DP_SGD = "patient-dp-sgd"


class PrivateOptimizer(StrEnum):
    """What is done with a noisy gradient: SGD with momentum, or Adam; both are post-processing."""

    SGD = "sgd"
    ADAM = "adam"

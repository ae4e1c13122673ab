"""The plan: every setting that all parties of a federation share, validated once.

The defaults are the published study's recipe. template.toml, which `fedcli init --template` prints, lists every setting with its
meaning, bounds and choices, and says which values are the paper's and which are ours; the docstrings here say more. Every number
has bounds, so that a hostile plan cannot exhaust a site's machine.
"""

from __future__ import annotations

from fedcli.plan.choices import (
    STATEFUL,
    Aspect,
    Beginning,
    ClassWeights,
    Crop,
    Differing,
    Encoding,
    Frames,
    Intensity,
    Loss,
    ModifiedViews,
    Normalisation,
    OptimizerState,
    Orientation,
    Packing,
    Part,
    Precision,
    Presentation,
    Rule,
    Sampling,
    Statistics,
    Tomosynthesis,
    Unit,
    ViewPosition,
    Weights,
)
from fedcli.plan.federation import MAX_CLASSES, MAX_ROUNDS, MAX_STEPS, Aggregation, Evaluation, Limits, Updates
from fedcli.plan.plan import MAX_BATCH_PIXELS, Plan, Preparation, load, template
from fedcli.plan.recipe import Augmentation, Finetuning, Images, Network, Split, Training

__all__ = [
    "MAX_BATCH_PIXELS",
    "MAX_CLASSES",
    "MAX_ROUNDS",
    "MAX_STEPS",
    "STATEFUL",
    "Aggregation",
    "Aspect",
    "Augmentation",
    "Beginning",
    "ClassWeights",
    "Crop",
    "Differing",
    "Encoding",
    "Evaluation",
    "Finetuning",
    "Frames",
    "Images",
    "Intensity",
    "Limits",
    "Loss",
    "ModifiedViews",
    "Network",
    "Normalisation",
    "OptimizerState",
    "Orientation",
    "Packing",
    "Part",
    "Plan",
    "Precision",
    "Preparation",
    "Presentation",
    "Rule",
    "Sampling",
    "Split",
    "Statistics",
    "Tomosynthesis",
    "Training",
    "Unit",
    "Updates",
    "ViewPosition",
    "Weights",
    "load",
    "template",
]

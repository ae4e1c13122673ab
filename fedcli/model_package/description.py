"""What a model takes and returns, as data that any program can follow: the steps from a mammogram to a class.

`fedcli predict` follows the same settings, because both come from the plan; docs/prepare.md explains each of them.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from pydantic.dataclasses import dataclass

from fedcli import wire
from fedcli.plan import Unit
from fedcli.wire import STRICT

if TYPE_CHECKING:
    from fedcli.plan import Plan

IMAGE, PROBABILITIES = "image", "probabilities"
"""The names of the ONNX model's input and output."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TensorDescription:
    """An input or output of the model.

    Attributes:
        name: Its name in the ONNX file.
        shape: Its dimensions; N is any number of images.
        dtype: The type of its numbers.
        meaning: What the numbers are.
    """

    name: str
    shape: tuple[int | Literal["N"], ...]
    dtype: Literal["float32"] = "float32"
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Step:
    """One step of preparing an image.

    Attributes:
        step: What is done.
        how: The plan's choice; empty where there is none.
        meaning: The same in words.
    """

    step: str
    how: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ModelDescription:
    """What a model takes and returns.

    Attributes:
        schema: Name and version of this class.
        network: The network, as the plan names it.
        input: The tensor that it takes.
        output: The tensor that it returns.
        classes: The class of each column of the output.
        images: The plan's settings of images, all of them.
        steps: From a mammogram to the input, in this order.
        case: What one prediction is for; the probabilities of all its images are averaged.
        decision: How probabilities become a class.
        thresholds: There are none.
    """

    schema: Literal["fedcli-model-input-1"] = "fedcli-model-input-1"
    network: str
    input: TensorDescription
    output: TensorDescription
    classes: tuple[str, ...]
    images: dict[str, Any]
    steps: tuple[Step, ...]
    case: Unit
    decision: str = "the class with the largest mean probability over the case's images; of equal ones the first"
    thresholds: None = None


def describe(plan: Plan) -> ModelDescription:
    """Return what a model of this plan takes and returns."""
    images = plan.images
    return ModelDescription(
        network=plan.network.name,
        input=TensorDescription(
            name=IMAGE, shape=("N", 1, images.size, images.size), meaning="grey images in [0, 1]; brighter is denser, air is dark"
        ),
        output=TensorDescription(name=PROBABILITIES, shape=("N", len(plan.classes)), meaning="each row sums to 1"),
        classes=plan.classes,
        images=wire.plain(asdict(images)),
        steps=_steps(plan),
        case=plan.unit,
    )


def _steps(plan: Plan) -> tuple[Step, ...]:
    images = plan.images
    return (
        Step(step="frames", how=images.frames, meaning="of N frames, frame N // 2, or the mean or maximum at every pixel"),
        Step(step="modality", how="", meaning="the Modality LUT, or stored value × Rescale Slope + Rescale Intercept"),
        Step(step="inversion", how="", meaning="MONOCHROME1 is inverted, so that air is dark; padding is darkest"),
        Step(step="crop", how=images.crop, meaning="the whole image, or the bounding box of the breast"),
        Step(step="orientation", how=images.orientation, meaning="as stored, or mirrored where the chest wall is on the right"),
        Step(step="intensity", how=images.intensity, meaning="what becomes 0 and 1, at full resolution; the rest is clipped"),
        Step(
            step="size",
            how=images.aspect,
            meaning=f"{images.size} × {images.size}; each pixel is the mean of the area that it covers; pad: longer side "
            f"{images.size}, then zeros on the right or at the bottom",
        ),
        Step(step="rounding", how="", meaning="to the nearest of 65535 equal steps, then float32"),
    )

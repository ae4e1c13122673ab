"""A network as an ONNX model that returns probabilities, and how far it is from the network itself."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from fedcli.errors import ConfigurationError, UsageError
from fedcli.learning.evaluation import inference
from fedcli.learning.samples import FULL_SCALE
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

OPSET = 18
"""The version of ONNX's operators; each runtime since 2023 has it."""


def require_packages() -> None:
    """Raise a UsageError if ONNX models can neither be written nor run here."""
    try:
        import onnx  # noqa: F401, PLC0415 - optional
        import onnxruntime  # noqa: F401, PLC0415
        import onnxscript  # noqa: F401, PLC0415 - torch's exporter needs it
    except ImportError as error:
        msg = f"an ONNX model needs {error.name}, which is not installed"
        raise UsageError(msg, hint='pip install "fedcli[package]"') from error


def encode(module: nn.Module, size: int, names: tuple[str, str], properties: Mapping[str, str]) -> bytes:
    """Return a network with a softmax behind it as an ONNX model of any number of images.

    Args:
        module: Takes (N, 1, size, size) in [0, 1], and returns logits; it is on the processor and in evaluation mode afterwards.
        size: Side of the images in pixels.
        names: Of the input and of the output.
        properties: What else the file states.

    Raises:
        ConfigurationError: torch cannot write this network.
    """
    import onnx  # noqa: PLC0415 - optional

    whole = nn.Sequential(module.cpu().eval().to(memory_format=torch.contiguous_format), nn.Softmax(dim=1)).eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter, about itself
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            program = torch.onnx.export(
                whole,
                (torch.zeros(2, 1, size, size),),
                input_names=[names[0]],
                output_names=[names[1]],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("N")},),
                verbose=False,
            )
        model = program.model_proto  # type: ignore[union-attr]
        onnx.helper.set_model_props(model, dict(properties))
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())
    except Exception as error:  # the exporter has no error family of its own
        msg = f"torch cannot write this network as ONNX: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise ConfigurationError(msg) from error


def largest_difference(content: bytes, module: nn.Module, images: NDArray[np.uint16]) -> float:
    """Return the largest difference of a probability between onnxruntime and torch.

    Args:
        content: What `encode` returned.
        module: The network.
        images: (N, size, size) uint16 fixed point of [0, 1].
    """
    import onnxruntime  # noqa: PLC0415 - optional

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    theirs = [session.run(None, {name: (image[None, None] / np.float32(FULL_SCALE)).astype(np.float32)})[0] for image in images]
    ours = inference.probabilities(module, images, device=torch.device("cpu"), progress=Silent())
    return float(np.abs(np.concatenate(theirs) - ours).max())

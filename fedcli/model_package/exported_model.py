"""A model as files for other programs, tried on images before anybody relies on them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np

from fedcli import tensors
from fedcli.errors import TrainingError
from fedcli.learning.evaluation import onnx_model
from fedcli.learning.networks import registry, weights
from fedcli.learning.samples import FULL_SCALE
from fedcli.model_package.description import IMAGE, PROBABILITIES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.party.folder import Folder
    from fedcli.plan import Plan
    from fedcli.reporting.tables import ChosenModel

TOLERANCE = 1e-4
"""Largest difference of a probability between ONNX and torch."""
NUM_TRIED = 100
"""Images on which both are compared."""


def write_model(safetensors: Path, onnx: Path, drop: Folder, chosen: ChosenModel, plan: Plan) -> float:
    """Write a model as safetensors and as ONNX; return the largest difference of a probability between both.

    Args:
        safetensors: The new file of its weights.
        onnx: The new file of the whole model.
        drop: The drop folder.
        chosen: The model.
        plan: The plan, which names its network.

    Raises:
        TrainingError: ONNX and torch return different probabilities.
        TrustError: The model's file is not what its record says.
    """
    module = registry.build(plan.network, len(plan.classes))
    expected = tensors.layout_of(weights.to_arrays(module))
    shutil.copyfile(drop.artifacts.fetch(chosen.verified, chosen.verified.artifact, expected), safetensors)
    weights.load_arrays(module, tensors.read(safetensors))
    properties = {
        "federation": drop.ledger.identity,
        "record": chosen.verified.digest,
        "sha256": chosen.reference.content_sha256,
        "classes": ", ".join(plan.classes),
    }
    content = onnx_model.encode(module, plan.images.size, (IMAGE, PROBABILITIES), properties)
    onnx.write_bytes(content)
    difference = onnx_model.largest_difference(content, module, _trial_images(plan.images.size))
    if not difference <= TOLERANCE:
        msg = f"{plan.network.name}: ONNX and torch return probabilities that differ by {difference:.2g}, more than {TOLERANCE:g}"
        raise TrainingError(msg, hint="the network cannot be packaged with these versions of torch and onnxruntime")
    return difference


def _trial_images(size: int) -> NDArray[np.uint16]:
    """Return noise of different brightness and coarseness, (100, size, size)."""
    generator = np.random.default_rng(0)
    images = np.empty((NUM_TRIED, size, size), np.uint16)
    for number, image in enumerate(images):
        cell = 1 + number % 8
        side = -(-size // cell)
        coarse = generator.random((side, side)) ** generator.uniform(0.3, 3)
        image[:] = np.rint(np.kron(coarse, np.ones((cell, cell)))[:size, :size] * FULL_SCALE)
    return images

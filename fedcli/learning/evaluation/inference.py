"""A network's softmax probabilities for images, without augmentation.

They are computed in the weights' own type: scores are published and compared, so they must not depend on whether a machine has
bfloat16. Batches have a fixed number of pixels, so that they fit into a processor's caches whatever the size of the images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fedcli.errors import DataError, TrainingError
from fedcli.learning.samples import as_input

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from fedcli.progress import Progress

PIXELS = {"cpu": 1 << 19, "cuda": 1 << 22}
"""Pixels of a batch: 10 images of 224 × 224 on a processor, 83 on a GPU."""


def probabilities(
    module: nn.Module,
    images: NDArray[np.uint16],
    *,
    device: torch.device,
    progress: Progress,
    label: str = "scoring",
) -> NDArray[np.float64]:
    """Return p_i of every image, (N, C) float64; each row sums to 1.

    Args:
        module: The network; it is moved to the device, and is in evaluation mode afterwards.
        images: (N, H, W) uint16 fixed point of [0, 1]; may be memory-mapped.
        device: Where to compute.
        progress: Notified of the images of every batch.
        label: What the progress is called.

    Raises:
        DataError: There are no images.
        TrainingError: A probability is not finite.
    """
    if not len(images):
        msg = f"{label}: there are no images"
        raise DataError(msg)
    module.to(device).eval().to(memory_format=torch.channels_last)
    batch_size = max(PIXELS.get(device.type, PIXELS["cpu"]) // images[0].size, 1)
    dtype = next(module.parameters()).dtype
    rows: list[NDArray[np.float64]] = []
    with torch.inference_mode(), progress.track(label, len(images), "images") as advance:
        for first in range(0, len(images), batch_size):
            # A copy: torch warns about a slice of a memory map, which cannot be written to.
            batch = np.array(images[first : first + batch_size])
            logits = module(as_input(torch.from_numpy(batch), dtype, device))
            rows.append(torch.softmax(logits.cpu().double(), dim=1).numpy())
            advance(len(batch), "")
    result = np.concatenate(rows)
    if not np.isfinite(result).all():
        broken = int((~np.isfinite(result)).any(axis=1).sum())
        msg = f"{label}: the network's output is not finite for {broken} of {len(result)} images"
        hint = "the model is broken; the coordinator can go back to an earlier one: `fedcli restart --from ROUND --reason TEXT`"
        raise TrainingError(msg, hint=hint)
    return result

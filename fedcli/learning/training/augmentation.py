"""Random flips, rotations and intensity shifts of a whole batch, on its device.

Each image has its own random choices. They are drawn on the CPU, and always all of them, so that a seed gives the same choices on
every device, and one setting does not change the random numbers of another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from fedcli.plan import Augmentation


def draw(num_images: int, generator: torch.Generator) -> Tensor:
    """Return the random choices of a batch, (B, 4) uniform in [0, 1): horizontal flip, vertical flip, angle, shift."""
    return torch.rand(num_images, 4, generator=generator, dtype=torch.float64)


def augment(images: Tensor, settings: Augmentation, choices: Tensor) -> Tensor:
    """Return the batch flipped, then rotated, then shifted in intensity, as the settings allow.

    Args:
        images: (B, 1, H, W) in [0, 1].
        settings: Which changes, and their largest values; an image is flipped half the time, angle and shift are uniform.
        choices: (B, 4), from `draw`.

    Returns:
        (B, 1, H, W), same type and device. The shift is added to every pixel and not clipped: values may be outside [0, 1].
    """
    choices = choices.to(images.device, images.dtype).T
    if settings.flip_horizontal:
        images = torch.where(_per_image(choices[0] < 0.5), images.flip(-1), images)  # noqa: PLR2004 - half the time
    if settings.flip_vertical:
        images = torch.where(_per_image(choices[1] < 0.5), images.flip(-2), images)  # noqa: PLR2004 - half the time
    if settings.rotation:
        images = rotate(images, (2 * choices[2] - 1) * settings.rotation)
    if settings.intensity_shift:
        images = images + _per_image((2 * choices[3] - 1) * settings.intensity_shift)
    return images


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Return each image rotated counter-clockwise about its centre: bilinear, with zeros outside the image.

    Args:
        images: (B, 1, H, W).
        degrees: (B,), same type and device.
    """
    cosine, sine = torch.cos(degrees * (math.pi / 180)), torch.sin(degrees * (math.pi / 180))
    # A target pixel (x, y), y downwards, comes from (cos·x - sin·y, sin·x + cos·y). affine_grid measures x in half widths and y
    # in half heights, hence the ratios.
    ratio = images.shape[-2] / images.shape[-1]
    zero = torch.zeros_like(cosine)
    matrix = torch.stack((cosine, -sine * ratio, zero, sine / ratio, cosine, zero), dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)

"""The labelled images that a network trains on or is scored on, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedcli.errors import DataError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

FULL_SCALE = 65535
"""The stored value of 1.0: images are uint16 fixed point of [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """One part of a prepared data set: left and right breasts and all views together.

    Attributes:
        images: (N, H, W) uint16, where `FULL_SCALE` is 1.0; may be memory-mapped and is read batch by batch.
        labels: (N,) int64, the category of each image, from 0 to `num_classes` - 1.
        units: (N,) int64, the patient (or study) of each image; any numbers, equal within a unit.
        num_classes: The plan's number of categories, whether or not all of them occur here.
        patients: (N,), each image's patient, by pseudonym: the unit of private training, and named where a batch
            fails; None if unknown.
    """

    images: NDArray[np.uint16]
    labels: NDArray[np.int64]
    units: NDArray[np.int64]
    num_classes: int
    patients: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 3 or self.images.dtype != np.uint16:  # noqa: PLR2004 - N, H, W
            msg = f"images must be (N, H, W) uint16, found {self.images.shape} {self.images.dtype}"
            raise DataError(msg)
        for name, array in (("labels", self.labels), ("units", self.units)):
            if array.shape != (len(self.images),) or array.dtype != np.int64:
                msg = f"{name} must be ({len(self.images)},) int64, one per image, found {array.shape} {array.dtype}"
                raise DataError(msg)
        if self.patients is not None and self.patients.shape != (len(self.images),):
            msg = f"patients must be ({len(self.images)},), one per image, found {self.patients.shape}"
            raise DataError(msg)
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < self.num_classes:
            msg = f"labels must be 0 to {self.num_classes - 1}, found {self.labels.min()} to {self.labels.max()}"
            raise DataError(msg)

    def __len__(self) -> int:
        """Return N, the number of images."""
        return len(self.images)


def as_input(images: torch.Tensor, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return images as a network takes them: (B, 1, H, W) in [0, 1].

    Args:
        images: (B, H, W) uint16 fixed point; moved to the device in this type, which is half the size of float32.
        dtype: The type of the network's weights.
        device: Where the network is.
    """
    return images.to(device, non_blocking=True).to(dtype).div_(FULL_SCALE).unsqueeze(1)

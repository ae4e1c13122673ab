"""Small data sets and settings that the tests of learning share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedcli.learning.samples import Samples
from fedcli.plan import Augmentation

CPU = torch.device("cpu")
STILL = Augmentation(flip_horizontal=False, flip_vertical=False, rotation=0.0, intensity_shift=0.0)


@pytest.fixture
def cpu() -> torch.device:
    return CPU


@pytest.fixture
def still() -> Augmentation:
    """Return the augmentation that changes nothing."""
    return STILL


@pytest.fixture
def noise() -> Samples:
    """Return 22 images of 16 × 16, two to a unit, with category 1 of four absent."""
    generator = np.random.default_rng(5)
    labels = np.array([0] * 10 + [2] * 8 + [3] * 4, dtype=np.int64)
    images = (
        generator.integers(0, 65536, (22, 16, 16)).astype(np.uint16) // 4 + (labels * 12_000).astype(np.uint16)[:, None, None]
    )
    return Samples(images=images, labels=labels, units=np.arange(22) // 2, num_classes=4)

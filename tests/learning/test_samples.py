"""What a set of samples refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedcli.errors import DataError
from fedcli.learning.samples import Samples, as_input

IMAGES = np.zeros((3, 4, 4), dtype=np.uint16)
LABELS = np.array([0, 1, 1])


def test_length_is_the_number_of_images() -> None:
    assert len(Samples(images=IMAGES, labels=LABELS, units=LABELS, num_classes=2)) == 3


@pytest.mark.parametrize(
    ("images", "labels", "units", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, LABELS, "images must be"),
        (IMAGES[0], LABELS, LABELS, "images must be"),
        (IMAGES, LABELS[:2], LABELS, "labels must be"),
        (IMAGES, LABELS.astype(np.float64), LABELS, "labels must be"),
        (IMAGES, LABELS, LABELS[:2], "units must be"),
        (IMAGES, LABELS + 1, LABELS, "found 1 to 2"),
        (IMAGES, LABELS - 1, LABELS, "found -1 to 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images: np.ndarray, labels: np.ndarray, units: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Samples(images=images, labels=labels, units=units, num_classes=2)


def test_patients_are_one_per_image() -> None:
    with pytest.raises(DataError, match="patients must be"):
        Samples(images=IMAGES, labels=LABELS, units=LABELS, num_classes=2, patients=np.array(["a", "b"]))


def test_input_is_zero_to_one_in_the_type_of_the_weights(cpu: torch.device) -> None:
    images = torch.from_numpy(np.array([[[0, 13107], [32768, 65535]]], dtype=np.uint16))
    single = as_input(images, torch.float32, cpu)
    assert single.shape == (1, 1, 2, 2)
    assert single.dtype == torch.float32
    double = as_input(images, torch.float64, cpu)
    assert double.dtype == torch.float64
    assert double.flatten().tolist() == [0.0, 13107 / 65535, 32768 / 65535, 1.0]

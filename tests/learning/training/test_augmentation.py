"""Flips, rotations and shifts do what they say, and no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedcli.learning.training.augmentation import augment, draw, rotate
from fedcli.plan import Augmentation

OFF: dict[str, Any] = {"flip_horizontal": False, "flip_vertical": False, "rotation": 0.0, "intensity_shift": 0.0}


def changed(images: Tensor, seed: int = 0, **settings: Any) -> Tensor:
    choices = draw(len(images), torch.Generator().manual_seed(seed))
    return augment(images, Augmentation(**{**OFF, **settings}), choices)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_nothing_on_changes_nothing(images: Tensor) -> None:
    assert torch.equal(changed(images), images)


@pytest.mark.parametrize(("setting", "axis"), [("flip_horizontal", -1), ("flip_vertical", -2)])
def test_flip_mirrors_about_half_of_the_images_exactly(images: Tensor, setting: str, axis: int) -> None:
    result = changed(images, **{setting: True})
    mirrored = [torch.equal(after, before.flip(axis)) for before, after in zip(images, result, strict=True)]
    kept = [torch.equal(after, before) for before, after in zip(images, result, strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert 16 < sum(mirrored) < 48


def test_flips_are_independent(images: Tensor) -> None:
    horizontal = changed(images, flip_horizontal=True)
    vertical = changed(images, flip_vertical=True)
    kinds = {(torch.equal(a, before), torch.equal(b, before)) for a, b, before in zip(horizontal, vertical, images, strict=True)}
    assert len(kinds) == 4


def test_shift_adds_one_value_within_the_range_to_all_pixels(images: Tensor) -> None:
    difference = changed(images, intensity_shift=0.1) - images
    values = difference[:, 0, 0, 0]
    assert torch.allclose(difference, values.view(-1, 1, 1, 1).expand_as(difference), atol=1e-12)
    assert values.abs().max() <= 0.1
    assert values.min() < -0.08
    assert values.max() > 0.08


def test_rotation_by_nothing_is_the_identity(images: Tensor) -> None:
    assert torch.allclose(rotate(images, torch.zeros(64, dtype=torch.float64)), images, atol=1e-12)


def test_rotation_by_a_right_angle_is_counter_clockwise_and_exact(images: Tensor) -> None:
    turned = rotate(images, torch.full((64,), 90.0, dtype=torch.float64))
    assert torch.allclose(turned, torch.rot90(images, 1, dims=(-2, -1)), atol=1e-12)


def test_half_turn_of_an_image_that_is_not_square() -> None:
    images = torch.rand(2, 1, 6, 10, dtype=torch.float64)
    assert torch.allclose(rotate(images, torch.full((2,), 180.0, dtype=torch.float64)), images.flip(-1, -2), atol=1e-12)


def test_rotation_keeps_angles_in_an_image_that_is_not_square() -> None:
    images = torch.zeros(1, 1, 41, 81, dtype=torch.float64)
    images[0, 0, 20, 40:56] = 1  # a ray to the right
    turned = rotate(images, torch.full((1,), 45.0, dtype=torch.float64))[0, 0]
    rows, columns = (turned > 0.5).nonzero(as_tuple=True)
    assert torch.equal(20 - rows, columns - 40)  # ... becomes a diagonal upwards


def test_angles_lie_within_the_range_to_both_sides() -> None:
    ray = torch.zeros(200, 1, 65, 65, dtype=torch.float64)
    ray[:, :, 32, 42:62] = 1
    result = changed(ray, rotation=45.0).numpy()[:, 0]
    rows, columns = np.arange(65) - 32, np.arange(65) - 32
    masses = result.sum(axis=(1, 2))
    angles = np.degrees(
        np.arctan2(-(result * rows[:, None]).sum(axis=(1, 2)) / masses, (result * columns).sum(axis=(1, 2)) / masses)
    )
    assert np.abs(angles).max() <= 45.5
    assert angles.min() < -40
    assert angles.max() > 40
    assert abs(angles.mean()) < 6


def test_corners_are_filled_with_zero() -> None:
    turned = rotate(torch.ones(1, 1, 33, 33), torch.tensor([45.0]))
    assert turned[0, 0, 0, 0] == 0
    assert turned[0, 0, 16, 16] == pytest.approx(1)


def test_one_setting_does_not_disturb_anothers_numbers(images: Tensor) -> None:
    alone = changed(images, intensity_shift=0.1) - images
    flipped = changed(images, flip_horizontal=True)
    assert torch.allclose(changed(images, flip_horizontal=True, intensity_shift=0.1), flipped + alone[:, :, :1, :1], atol=1e-12)


def test_type_is_kept_and_seed_decides(images: Tensor) -> None:
    once, again, other = (changed(images.float(), seed, rotation=30.0, intensity_shift=0.1) for seed in (1, 1, 2))
    assert once.dtype == torch.float32
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_every_image_has_its_own_choices(images: Tensor) -> None:
    choices = draw(64, torch.Generator().manual_seed(2))
    whole = augment(images, Augmentation(), choices)
    assert torch.allclose(augment(images[1::3], Augmentation(), choices[1::3]), whole[1::3], atol=1e-12)

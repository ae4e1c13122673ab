"""A reproducible block leaves the process as it was."""

from __future__ import annotations

import pytest
import torch
from torch.utils import deterministic

from fedcli.learning.determinism import reproducible


def interrupted(cpu: torch.device) -> None:
    with reproducible(3, cpu):
        assert torch.are_deterministic_algorithms_enabled()
        assert not deterministic.fill_uninitialized_memory
        torch.rand(5)
        raise KeyboardInterrupt


def test_generator_and_switches_are_restored_even_after_an_error(cpu: torch.device) -> None:
    before = torch.get_rng_state()
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(KeyboardInterrupt):
        interrupted(cpu)
    assert torch.equal(torch.get_rng_state(), before)
    assert deterministic.fill_uninitialized_memory
    assert not torch.are_deterministic_algorithms_enabled()


def test_seed_decides_what_the_global_generator_gives(cpu: torch.device) -> None:
    draws: list[torch.Tensor] = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(draws))
        with reproducible(seed, cpu):
            draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])

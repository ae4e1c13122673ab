"""A reproducible block leaves the process as it was."""

from __future__ import annotations

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils import deterministic

from fedcli.learning.determinism import reproducible
from fedcli.learning.seeds import derive_seed


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


def test_seed_is_pinned() -> None:
    digest = hashlib.sha256(b"1:0,10:site-north,2:12,").digest()
    assert derive_seed(0, "site-north", 12) == int.from_bytes(digest[:8], "big") // 2


@given(st.lists(st.text()), st.lists(st.text()))
def test_other_words_give_another_seed(first: list[str], second: list[str]) -> None:
    assert (derive_seed(*first) == derive_seed(*second)) == (first == second)
    assert 0 <= derive_seed(*first) < 2**63


def test_where_words_end_matters() -> None:
    assert derive_seed("ab", "c") != derive_seed("a", "bc")

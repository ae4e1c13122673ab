"""Reproducible torch within a block; afterwards the process's generators and settings are as before."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.utils import deterministic

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Make the results of the block depend only on `seed`, on a CPU with one thread count and one version of torch.

    Dropout and weight initialisation draw from torch's global generators, which are seeded here and restored at the end. On a
    CPU only deterministic kernels are allowed; on a GPU others are too, because some layers (the gradient of adaptive pooling)
    have no deterministic kernel. torch's filling of new memory with NaN is switched off: it takes a tenth of a step or more.
    """
    on_gpu = device.type == "cuda"
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        reseed(seed, device)
        if not on_gpu:
            torch.use_deterministic_algorithms(True)  # noqa: FBT003 - torch's signature
            deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
            deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def reseed(seed: int, device: torch.device) -> None:
    """Seed the global generators from which layers draw on this device."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)

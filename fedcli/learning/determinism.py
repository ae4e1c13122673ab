"""Reproducible torch, locally: the process's own generators and switches are as before afterwards."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.utils import deterministic

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Make what happens within depend on `seed` alone, on a CPU with one thread count and one version of torch.

    Dropout and weight initialisation draw from torch's global generators, which are seeded here and restored at the end. On a
    CPU only deterministic kernels are allowed. On a GPU they are not insisted upon: some layers (adaptive pooling's gradient)
    have none there. Fresh memory is not filled with NaN, which torch does beside deterministic kernels to show who reads what
    nobody wrote: that is a tenth of a step and more.
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
    """Begin the global generators anew, those from which layers draw on this device."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)

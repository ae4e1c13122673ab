"""bfloat16 where the plan and the device have it: autocast, the weights themselves and their gradients staying float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch

from fedcli.plan import Precision

if TYPE_CHECKING:
    from torch import nn


def choose(precision: Precision, device: torch.device) -> Precision:
    """Return the arithmetic on a device: `auto` takes bfloat16 where it is in hardware, and float32 elsewhere."""
    if precision is not Precision.AUTO:
        return precision
    return Precision.BFLOAT16 if _has_bfloat16(device) else Precision.FLOAT32


def autocast(precision: Precision, module: nn.Module, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which a network computes; one of float64 weights does so in float64, whatever the plan says."""
    single = next(module.parameters()).dtype == torch.float32
    if choose(precision, device) is Precision.FLOAT32 or not single:
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch has no public name for these; AMX and AVX512-BF16 are what oneDNN multiplies bfloat16 with.
    return device.type == "cpu" and any((torch.cpu._is_avx512_bf16_supported(), torch.cpu._is_amx_tile_supported()))  # noqa: SLF001

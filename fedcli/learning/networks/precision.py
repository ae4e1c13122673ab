"""bfloat16 where the plan and the device have it: autocast, the weights themselves and their gradients staying float32.

Wider numbers take twice the memory. A GPU for training has it; a hospital's desktop may not, so that on a CPU what is cheap to
compute again is not kept.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch

from fedcli.learning.networks.recomputation import recomputed
from fedcli.plan import Precision

if TYPE_CHECKING:
    from torch import nn


def choose(precision: Precision, device: torch.device) -> Precision:
    """Return the arithmetic on a device: `auto` takes bfloat16 where it is in hardware, and float32 elsewhere."""
    if precision is not Precision.AUTO:
        return precision
    return Precision.BFLOAT16 if _has_bfloat16(device) else Precision.FLOAT32


def computing(precision: Precision, module: nn.Module, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which a network's outputs are computed to be learned from.

    One of float64 weights computes in float64, whatever the plan says.
    """
    single = next(module.parameters()).dtype == torch.float32
    if single and choose(precision, device) is Precision.BFLOAT16:
        return torch.autocast(device.type, torch.bfloat16)
    return recomputed(module) if device.type == "cpu" else nullcontext()


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch has no public name for these; AMX and AVX512-BF16 are what oneDNN multiplies bfloat16 with.
    return device.type == "cpu" and any((torch.cpu._is_avx512_bf16_supported(), torch.cpu._is_amx_tile_supported()))  # noqa: SLF001

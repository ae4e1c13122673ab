"""The arithmetic of training: bfloat16 by autocast, with weights and gradients in float32, or float32 throughout.

float32 takes twice the memory. A GPU for training has it, but a hospital's desktop may not: on a CPU, activations that are cheap
to compute again are therefore not kept (`recomputation`).
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
    """Return the precision on a device: `auto` is bfloat16 if the hardware has it, otherwise float32."""
    if precision is not Precision.AUTO:
        return precision
    return Precision.BFLOAT16 if _has_bfloat16(device) else Precision.FLOAT32


def computing(
    precision: Precision, module: nn.Module, device: torch.device, *, sparing: bool = True
) -> AbstractContextManager[object]:
    """Return the context for computing a network's outputs in training.

    A network with float64 weights computes in float64, whatever the plan says.

    Args:
        precision: The plan's.
        module: The network.
        device: Where it computes.
        sparing: Whether memory is spared where that takes time; the bits are the same.
    """
    single = next(module.parameters()).dtype == torch.float32
    if single and choose(precision, device) is Precision.BFLOAT16:
        return torch.autocast(device.type, torch.bfloat16)
    return recomputed(module) if sparing and device.type == "cpu" else nullcontext()


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # oneDNN multiplies bfloat16 by AMX and AVX512-BF16; torch has no public names for them.
    return device.type == "cpu" and any((torch.cpu._is_avx512_bf16_supported(), torch.cpu._is_amx_tile_supported()))  # noqa: SLF001

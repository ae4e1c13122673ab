"""Which arithmetic is taken."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedcli.learning.networks.precision import choose, computing
from fedcli.plan import Precision

META = torch.device("meta")
"""A device without bfloat16 in hardware, as far as is known."""


def test_auto_takes_bfloat16_where_it_is_in_hardware(cpu: torch.device) -> None:
    with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a file on a disk
        flags = set(file.read().split())
    expected = Precision.BFLOAT16 if flags & {"avx512_bf16", "amx_tile"} else Precision.FLOAT32
    assert choose(Precision.AUTO, cpu) is expected
    assert choose(Precision.AUTO, META) is Precision.FLOAT32


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_what_the_plan_names_is_taken(precision: Precision, cpu: torch.device) -> None:
    assert choose(precision, cpu) is choose(precision, META) is precision


@pytest.mark.parametrize(
    ("precision", "weights", "expected"),
    [
        (Precision.BFLOAT16, torch.float32, torch.bfloat16),
        (Precision.FLOAT32, torch.float32, torch.float32),
        (Precision.BFLOAT16, torch.float64, torch.float64),
    ],
)
def test_outputs_have_the_precision(precision: Precision, weights: torch.dtype, expected: torch.dtype, cpu: torch.device) -> None:
    module = nn.Linear(2, 2).to(weights)
    with computing(precision, module, cpu):
        assert module(torch.ones(1, 2, dtype=weights)).dtype == expected

"""The integer tensors of a model, such as counters: φ(t) = φ(t-1) + step, in Python's exact integers.

the mean and its relatives, Krum     step = floor(Σ n_k Δ_k / Σ n_k), over the updates that take part
median, trimmed mean                 the rule's own, floored
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedcli.aggregation import mean
from fedcli.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.aggregation.engine.output import Output
    from fedcli.aggregation.engine.stack import Stack
    from fedcli.aggregation.rules import Rule
    from fedcli.aggregation.update import Run
    from fedcli.tensors import Layout

_HELD = 1 << 16
"""Python integers held at a time, at most; each takes some forty bytes."""


def fold_integers(
    rule: Rule, weights: Sequence[int], stack: Stack, before: Stack, run: Run, layout: Layout, output: Output
) -> None:
    """Write the run of integers.

    Raises:
        UpdateError: A file cannot be read.
        TrustError: A value leaves 64 bits.
    """
    rows = len(weights)
    for first, last in stack.ranges(run, together=True):
        previous = before.read(range(1), run, first, last)[0].astype(object)
        values = stack.read(range(rows), run, first, last)
        step = np.empty(last - first, object)
        width = max(1, _HELD // rows)
        for begin in range(0, last - first, width):
            some = values[:, begin : begin + width].astype(object)
            chosen = rule.columns.integers(some) if rule.columns is not None else mean.integers(some, weights)
            step[begin : begin + width] = chosen
        try:
            result = (previous + step).astype(run.dtype)
        except OverflowError as error:
            position = run.begin - len(layout.header) + run.dtype.itemsize * first
            name = next(item.name for item in layout.tensors if item.begin <= position < item.end)
            msg = f"an integer buffer overflows, in tensor {name} or after it"
            raise TrustError(msg) from error
        output.write(result.data)

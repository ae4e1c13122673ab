"""Which updates take a value of the model out of the range of its type.

The participants with the largest deltas in the direction of the overflow are left out, one after another, until the rule gives a
value within the range. Then each of them is taken back if the value stays within the range: nobody is named without need.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def culprits(deltas: Sequence[float], value: float, within: Callable[[list[int]], bool]) -> list[int]:
    """Return the positions of the updates whose removal brings a value into its range; none if no removal does.

    Args:
        deltas: Each participant's delta of the value.
        value: What all of them make: too large, too small, or not a number, when large deltas of either sign count.
        within: Whether the value is within the range if only these positions, ascending, take part; there may be none.
    """
    every = list(range(len(deltas)))
    outwards = [abs(delta) if math.isnan(value) else math.copysign(1, value) * delta for delta in deltas]
    removed: list[int] = []
    for position in sorted(every, key=lambda number: -outwards[number]):
        removed.append(position)
        if within(_without(every, removed)):
            break
    else:
        return []
    for position in list(removed):
        fewer = [number for number in removed if number != position]
        if within(_without(every, fewer)):
            removed = fewer
    return sorted(removed)


def _without(every: list[int], removed: list[int]) -> list[int]:
    return [number for number in every if number not in removed]

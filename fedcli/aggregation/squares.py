"""Sums of squares that are defined to the bit, for the norms that clip and the distances that choose.

The floats of a file form units of 1024 elements, the last one filled up with zeros. Within a unit the squares, each rounded to
float64, are summed by halving: element i is added to element i + 512, then i to i + 256, … until one remains. The units are then
summed in order, from +0.0. No BLAS takes part, and the sum does not depend on threads or ranges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedcli.aggregation.engine.column_range import UNIT

if TYPE_CHECKING:
    from numpy.typing import NDArray


def unit_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of squares of every unit of every row, (rows, units).

    Args:
        values: (rows, elements) of whole units, which are overwritten.
    """
    np.multiply(values, values, out=values)
    units = values.reshape(len(values), -1, UNIT)
    width = UNIT
    while width > 1:
        width //= 2
        np.add(units[..., :width], units[..., width : 2 * width], out=units[..., :width])
    return units[..., 0]


def add_in_order(total: NDArray[np.float64], sums: NDArray[np.float64]) -> None:
    """Add the sums of units, along the last axis and in their order, to a total."""
    for number in range(sums.shape[-1]):
        np.add(total, sums[..., number], out=total)

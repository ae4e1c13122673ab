"""The weighted mean of FederatedAveraging (McMahan et al. 2017; the study's Algorithm 1, line 9).

    φ(t) = 1 / Σ_k n_k · Σ_k (n_k · φ_k(t))           with φ_k(t) = φ(t-1) + Δ_k
         = φ(t-1) + S / Σ_k n_k                       with S = Σ_k n_k · Δ_k

S is summed in float64 from +0.0, the sites in bytewise order of their names. Multiplication and addition are two IEEE operations
for each element, without BLAS. The products are exact while n_k < 2**29. Integers: floor(Σ n_k Δ_k / Σ n_k), exact. So anyone can
recompute the model on any machine, whatever the order in which the updates arrived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli.aggregation.engine.weighted_sum import weighted_sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class WeightedMean:
    """The rule."""

    def floats(self, deltas: NDArray[np.float32], weights: Sequence[int], step: NDArray[np.float64]) -> None:
        """Make `step` the mean of each column, (sites, elements) to (elements,)."""
        n = np.array(weights, np.float64)
        weighted_sum(deltas, n, out=step)
        np.divide(step, n.sum(), out=step)

    def integers(self, deltas: NDArray[Any], weights: Sequence[int]) -> NDArray[Any]:
        """Return the floored mean of each column of Python integers."""
        n = np.array(weights, object)
        return np.asarray(n @ deltas // n.sum())

"""The length below which an update cannot have the noise that it states.

Private SGD with momentum from weights w ends at w - η Σ_t c_t g̃_t, with c_t = (1 - β^(T-t+1)) / (1 - β): the share of step t's
gradient that is applied by the end of T steps. The noise in this sum is normal with deviation (η C σ / B) √Σc² in each of d
weights, so that its length is above this times √(d - 2√(dx)) but for a probability of e^-x (Laurent & Massart 2000, lemma 1). The
clipped gradients are together at most C times the patients taken, which are at most B Σc + c_1 (√(2TBx) + x), weighted
likewise, but for another e^-x (Bernstein). Weight decay adds at most ηλ Σc times the longest weights on the way. With x = 30, an
honest update is below the floor with a probability of at most 2·10^-13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_X = 30.0
_HALF_ULP = 2.0**-23
"""What a float32 operation may change a weight by, as a share of it, with room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyDescent:
    """The steps of private SGD in a round.

    Attributes:
        values: d, the number of trained weights.
        steps: T.
        rate: η.
        momentum: β.
        clipping: C.
        batch: B, the planned number of patients in a step.
        noise: σ.
        decay: λ of weight decay.
        start: Euclidean norm of the weights at the start.
    """

    values: int
    steps: int
    rate: float
    momentum: float
    clipping: float
    batch: int
    noise: float
    decay: float
    start: float

    @property
    def shortest(self) -> float:
        """The floor of the update's Euclidean norm; 0 if the noise sets none."""
        beta, length = self.momentum, self.steps
        shares = [(1 - beta**left) / (1 - beta) for left in range(1, length + 1)]
        total, most = math.fsum(shares), shares[-1]
        scale = self.rate * self.clipping / self.batch
        deviation = scale * self.noise * math.sqrt(math.fsum(share * share for share in shares))
        signal = scale * (self.batch * total + most * (math.sqrt(2 * length * self.batch * _X) + _X))
        spread = 2 * math.sqrt(self.values * _X)
        longest = self.start + signal + deviation * math.sqrt(self.values + spread + 2 * _X)
        drift = (self.rate * self.decay * total + (length + 2) * _HALF_ULP) * longest
        return max(0.0, deviation * math.sqrt(max(0.0, self.values - spread)) - signal - drift)

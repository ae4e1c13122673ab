"""The accountant of differential privacy: what noisy steps on a site's patients cost them, as (ε, δ).

A step takes each patient with probability q, adds up clipped gradients, and adds normal noise of σ times the clipping bound. Two
data sets are neighbours if one of them has one patient more (add or remove one). The privacy loss distribution of one step is
composed over all steps (Koskela, Jälkö & Honkela 2020; Doroshenko et al. 2022) by dp-accounting, whose discretisation rounds
every loss up: the ε returned is an upper bound.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli.errors import UsageError
from fedcli.wire import STRICT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LEAST_NOISE = 0.2
"""The smallest σ that counts: below it ε is in the hundreds, and composing takes minutes and gigabytes."""
MOST_NOISE = 1000.0
PER_UNIT = 1000
"""Proposed σ are multiples of 1/1000."""
MOST_ROUNDS = 9999
MOST_STEPS = 1_000_000

_HOPELESS = 2500.0
"""Where Σ q²/σ² over all steps is larger, ε is above 1000, and the distribution takes gigabytes."""

_FINE = 1e-4
"""Width of the bins of privacy loss; dp-accounting's default."""
_COARSE = 1e-3
"""For searches: ε is larger than with `_FINE`, mostly by less than 1 %, and takes a tenth of the time."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PrivateSteps:
    """Steps that were taken, or are to be taken, with the same probability and the same noise.

    Attributes:
        sampling_rate: q, the probability with which a step takes a patient.
        noise: σ, the noise's standard deviation as a multiple of the clipping bound.
        steps: Number of steps.
    """

    sampling_rate: Annotated[float, Field(gt=0, le=1)]
    noise: Annotated[float, Field(ge=0)]
    steps: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PrivacyCost:
    """What rounds with some noise cost.

    Attributes:
        noise: σ.
        rounds: Number of rounds.
        epsilon: ε of all of them.
    """

    noise: float
    rounds: int
    epsilon: float


def epsilon(segments: Iterable[PrivateSteps], delta: float) -> float:
    """Return the ε of all steps together; their order does not matter.

    Args:
        segments: All steps on the same patients; none cost nothing.
        delta: δ, in (0, 1).

    Returns:
        ε, at least 0; infinite if the noise of any step is below `LEAST_NOISE`, if ε is above 1000 by far, or if there are more
        steps than `MOST_STEPS`, whoever claims them.

    Raises:
        UsageError: dp-accounting is not installed.
    """
    return _epsilon(segments, delta, _FINE)


def least_noise(
    sampling_rate: float, steps: int, *, epsilon: float, delta: float, spent: Iterable[PrivateSteps] = ()
) -> float | None:
    """Return the smallest σ, a multiple of 1/1000, with which so many steps, after those of `spent`, cost at most ε at δ.

    None if it would be above `MOST_NOISE`. It is never below `LEAST_NOISE`.

    Raises:
        UsageError: dp-accounting is not installed.
    """
    before = tuple(spent)

    def noise(number: int) -> float:
        return (MOST_NOISE * PER_UNIT - number) / PER_UNIT

    def fits(number: int, width: float) -> bool:
        segment = PrivateSteps(sampling_rate=sampling_rate, noise=noise(number), steps=steps)
        return _epsilon([*before, segment], delta, width) <= epsilon

    number = _last(fits, round((MOST_NOISE - LEAST_NOISE) * PER_UNIT))
    return None if number is None else noise(number)


def rounds_left(spent: Iterable[PrivateSteps], each: PrivateSteps, *, epsilon: float, delta: float) -> int:
    """Return how many more rounds fit into a budget of ε at δ.

    Args:
        spent: All steps so far.
        each: The steps of every further round.
        epsilon: The budget.
        delta: δ, in (0, 1).

    Returns:
        Between 0 and `MOST_ROUNDS`.

    Raises:
        UsageError: dp-accounting is not installed.
    """
    before = tuple(spent)

    def fits(number: int, width: float) -> bool:
        further = [PrivateSteps(sampling_rate=each.sampling_rate, noise=each.noise, steps=each.steps * number)] if number else []
        return _epsilon([*before, *further], delta, width) <= epsilon

    return _last(fits, MOST_ROUNDS) or 0


def _epsilon(segments: Iterable[PrivateSteps], delta: float, width: float) -> float:
    counts: Counter[tuple[float, float]] = Counter()
    for segment in segments:
        counts[segment.sampling_rate, segment.noise] += segment.steps
    require_package()
    if any(noise < LEAST_NOISE for _, noise in counts) or counts.total() > MOST_STEPS:
        return float("inf")
    if sum(steps * (sampling_rate / noise) ** 2 for (sampling_rate, noise), steps in counts.items()) > _HOPELESS:
        return float("inf")
    return _composed(tuple(sorted(counts.items())), delta, width) if counts else 0.0


@lru_cache(maxsize=64)  # sites with the same numbers cost the same
def _composed(counts: tuple[tuple[tuple[float, float], int], ...], delta: float, width: float) -> float:
    import dp_accounting  # noqa: PLC0415 - optional
    from dp_accounting import pld  # noqa: PLC0415 - optional

    accountant = pld.PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=width)
    for (sampling_rate, noise), steps in counts:
        step = dp_accounting.PoissonSampledDpEvent(sampling_rate, dp_accounting.GaussianDpEvent(noise))
        accountant.compose(dp_accounting.SelfComposedDpEvent(step, steps))
    return float(accountant.get_epsilon(delta))


def accountant_name() -> str:
    """Return what computes ε here, with its version, as records state it.

    Raises:
        UsageError: dp-accounting is not installed.
    """
    require_package()
    return f"dp-accounting {version('dp-accounting')}, PLD"


def require_package() -> None:
    """Raise a UsageError if dp-accounting is not installed."""
    try:
        import dp_accounting  # noqa: F401, PLC0415 - optional
    except ImportError as error:
        msg = f"differential privacy needs {error.name}, which is not installed"
        raise UsageError(msg, hint='pip install "fedcli[privacy]"') from error


def _last(fits: Callable[[int, float], bool], end: int) -> int | None:
    """Return the largest number up to `end` that fits, of which every smaller one fits too; None if 0 does not.

    What fits with coarse bins also fits with fine ones, so that the search with fine bins begins there.
    """
    if not fits(0, _FINE):
        return None
    begin = 0
    for width in (_COARSE, _FINE):
        begin = _gallop(lambda number, width=width: fits(number, width), begin, end)  # type: ignore[misc]
    return begin


def _gallop(fits: Callable[[int], bool], begin: int, end: int) -> int:
    """Return the largest number from `begin` to `end` that fits; `begin` itself is not asked about."""
    step = 1
    while begin + step <= end and fits(begin + step):
        begin, step = begin + step, 2 * step
    beyond = min(begin + step, end + 1)
    while beyond - begin > 1:
        middle = (begin + beyond) // 2
        begin, beyond = (middle, beyond) if fits(middle) else (begin, middle)
    return begin

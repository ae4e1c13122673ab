"""Which updates are too long: a pure rule, so that every reader of a round record can check which updates were refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedcli.plan.federation import Limits

LEAST = 5
"""Updates from which on each is compared with the median of the others: among fewer, two can make a third look odd."""


def too_long(limits: Limits, norms: Mapping[str, float], model_norm: float) -> dict[str, str]:
    """Return the sites whose update is too long, with the reason.

    Those that are too long for the model do not count among the others. A model or a median of 0 bounds nothing.

    Args:
        limits: The plan's.
        norms: The norm of the trained weights of every update that was finite, by site.
        model_norm: The norm of the trained weights of φ(t-1).
    """
    reasons = {}
    for site, norm in norms.items():
        if limits.norm and norm > limits.norm * model_norm > 0:
            reasons[site] = f"{_than(norm, limits.norm)} the model's, which is {model_norm:g} (limits.norm)"
    compared = {site: norm for site, norm in norms.items() if site not in reasons}
    if not limits.norm_median or len(compared) < LEAST:
        return reasons
    ascending = sorted(compared.values())
    for site, norm in compared.items():
        median = _median_without(ascending, ascending.index(norm))
        if norm > limits.norm_median * median > 0:
            reasons[site] = f"{_than(norm, limits.norm_median)} the others' median, which is {median:g} (limits.norm_median)"
    return reasons


def _than(norm: float, limit: float) -> str:
    return f"the norm of its trained weights is {norm:g}, expected at most {limit:g} times"


def _median_without(ascending: Sequence[float], position: int) -> float:
    """Return the median of all values but one."""
    count = len(ascending) - 1
    low, high = (ascending[number + (number >= position)] for number in ((count - 1) // 2, count // 2))
    return (low + high) / 2

"""What several sites' comparisons say together: Holm's correction, random effects, non-inferiority."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli.exchange.records import ModelKind
from fedcli.measures import PairedDifference
from fedcli.plan import Evaluation, Plan
from fedcli.reporting.tables.comparisons import SiteComparison
from fedcli.reporting.tables.pooled import Inferiority, holm, pooled_differences, random_effects

# Thirteen trials of the BCG vaccine (Colditz et al. 1994): log relative risks and their variances.
BCG = (-0.8893, -1.5854, -1.3481, -1.4416, -0.2175, -0.7861, -1.6209, 0.0120, -0.4694, -1.3713, -0.3394, 0.4459, -0.0173)
BCG_VARIANCES = (0.3256, 0.1946, 0.4154, 0.0200, 0.0512, 0.0069, 0.2230, 0.0040, 0.0564, 0.0730, 0.0124, 0.5325, 0.0714)


def plan(margin: float = 0.0) -> Plan:
    return Plan(name="pilot", evaluation=Evaluation(noninferiority_margin=margin))


def compared(difference: float | None, half: float | None, site: str = "east", cases: int = 200) -> SiteComparison:
    interval = None if difference is None or half is None else (difference - half, difference + half)
    result = PairedDifference(cases=cases, difference=difference, interval=interval, p_value=None, permutations=100)
    return SiteComparison(site=site, kind=ModelKind.FEDERATED, other=ModelKind.LOCAL, result=result)


def test_holms_own_steps() -> None:
    assert holm((0.01, 0.04, 0.03, 0.005)) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm(()) == ()


@given(st.lists(st.floats(0, 1), max_size=12))
def test_an_adjusted_p_value_is_no_smaller_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(raw <= value <= 1 for raw, value in zip(p_values, adjusted, strict=True))
    assert [value for _, value in sorted(zip(p_values, adjusted, strict=True))] == sorted(adjusted)


def test_the_published_pooling_of_the_bcg_trials() -> None:
    """The mean and the variance between trials that the literature gives for DerSimonian and Laird's method."""
    mean, _, spread = random_effects(BCG, np.sqrt(BCG_VARIANCES))
    assert (mean, spread**2) == (pytest.approx(-0.7141, abs=5e-4), pytest.approx(0.3088, abs=5e-4))


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_nineteen_of_twenty_intervals_hold_the_true_mean(spread: float) -> None:
    generator = np.random.default_rng(1)
    errors = np.array([0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.03])
    held = 0
    for _ in range(1000):
        drawn = 0.1 + spread * generator.standard_normal(7) + errors * generator.standard_normal(7)
        _, (low, high), _ = random_effects(drawn.tolist(), errors)
        held += low <= 0.1 <= high
    assert 930 <= held <= 995


@pytest.mark.parametrize(
    ("differences", "inferiority", "words"),
    [
        ((0.00, 0.02, 0.01), Inferiority.EXCLUDED, "It is not worse by more than the plan's margin of 0.05."),
        ((-0.20, -0.22, -0.21), Inferiority.SHOWN, "It is worse by more than the plan's margin of 0.05."),
        ((-0.20, 0.10, 0.05), Inferiority.OPEN, "It is not shown whether it is worse by more than the plan's margin of 0.05."),
    ],
)
def test_against_the_plans_margin(differences: tuple[float, ...], inferiority: Inferiority, words: str) -> None:
    every = [compared(difference, 0.02, site=f"s{number}") for number, difference in enumerate(differences)]
    (pooled,) = pooled_differences(every, plan(0.05))
    assert (pooled.sites, pooled.inferiority) == (3, inferiority)
    assert pooled.sentence.endswith(words)
    (without,) = pooled_differences(every, plan())
    assert without.inferiority is None
    assert "margin" not in without.sentence


def test_one_site_and_sites_without_an_interval_are_not_pooled() -> None:
    assert pooled_differences([compared(0.1, 0.02)], plan()) == ()
    assert pooled_differences([compared(0.1, 0.02), compared(None, None, "west"), compared(0.2, None, "south")], plan()) == ()


def test_two_equal_models_are_not_taken_for_certain() -> None:
    """At a site where no resample differs the interval has no width; one more case could differ."""
    (pooled,) = pooled_differences([compared(0.0, 0.0, "east", 50), compared(0.0, 0.0, "west", 50)], plan())
    assert pooled.interval == (pytest.approx(-0.18, abs=0.005), pytest.approx(0.18, abs=0.005))

"""The accountant: dp-accounting's own ε, and what follows from it."""

from __future__ import annotations

import math
import sys

import dp_accounting
import numpy as np
import pytest
from dp_accounting import pld
from scipy.stats import norm

from fedcli.errors import UsageError
from fedcli.privacy import accountant
from fedcli.privacy.accountant import PrivateSteps, epsilon, least_noise, rounds_left

DELTA = 1e-5


def steps(sampling_rate: float, noise: float, number: int) -> PrivateSteps:
    return PrivateSteps(sampling_rate=sampling_rate, noise=noise, steps=number)


def of_dp_accounting(segments: list[PrivateSteps], delta: float) -> float:
    theirs = pld.PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    for segment in segments:
        event = dp_accounting.PoissonSampledDpEvent(segment.sampling_rate, dp_accounting.GaussianDpEvent(segment.noise))
        theirs.compose(event, segment.steps)
    return float(theirs.get_epsilon(delta))


def settings(number: int) -> tuple[list[PrivateSteps], float]:
    """Return one to three segments and a δ."""
    generator = np.random.default_rng(number)
    segments = [
        steps(float(10 ** generator.uniform(-3, 0)), float(10 ** generator.uniform(0, 1)), int(10 ** generator.uniform(0, 2.5)))
        for _ in range(1 + number % 3)
    ]
    return segments, float(10 ** generator.uniform(-8, -3))


@pytest.mark.parametrize("number", range(50))
def test_epsilon_is_dp_accountings_own(number: int) -> None:
    segments, delta = settings(number)
    assert epsilon(reversed(segments), delta) == pytest.approx(of_dp_accounting(segments, delta), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("noise", "number"), [(1.0, 1), (3.0, 1), (2.0, 10), (10.0, 300)])
def test_without_sampling_it_is_the_gaussian_mechanisms(noise: float, number: int) -> None:
    """Balle & Wang 2018, theorem 8: δ(ε) = Φ(1/2s - εs) - e^ε Φ(-1/2s - εs), with s = σ/√T."""
    cost, scale = epsilon([steps(1.0, noise, number)], DELTA), noise / math.sqrt(number)

    def delta(epsilon: float) -> float:
        return float(
            norm.cdf(1 / (2 * scale) - epsilon * scale) - math.exp(epsilon) * norm.cdf(-1 / (2 * scale) - epsilon * scale)
        )

    assert delta(cost) <= DELTA <= delta(cost * 0.999)


def test_less_noise_more_steps_and_more_sampling_cost_more() -> None:
    for values in (
        [epsilon([steps(0.05, noise, 200)], DELTA) for noise in (4.0, 2.0, 1.0)],
        [epsilon([steps(0.05, 1.0, number)], DELTA) for number in (1, 10, 100)],
        [epsilon([steps(rate, 2.0, 50)], DELTA) for rate in (0.001, 0.01, 0.1, 1.0)],
        [epsilon([steps(0.05, 2.0, 50)], delta) for delta in (1e-3, 1e-5, 1e-7)],
    ):
        assert values == sorted(values)
        assert len(set(values)) == len(values)


def test_equal_steps_are_one_segment_and_none_cost_nothing() -> None:
    assert epsilon([steps(0.1, 1.0, 30), steps(0.1, 1.0, 70)], DELTA) == epsilon([steps(0.1, 1.0, 100)], DELTA)
    assert epsilon([], DELTA) == 0


def test_steps_without_noise_have_no_bound() -> None:
    for noise in (0.0, 0.001, accountant.LEAST_NOISE - 1e-9):
        assert epsilon([steps(0.1, 1.0, 100), steps(0.1, noise, 1)], DELTA) == math.inf
    assert epsilon([steps(0.001, accountant.LEAST_NOISE, 1)], DELTA) < math.inf


@pytest.mark.parametrize(("rate", "number", "budget"), [(0.1, 300, 3.0), (0.01, 100, 0.5), (1.0, 20, 1.0)])
def test_least_noise_meets_the_budget_and_a_thousandth_less_does_not(rate: float, number: int, budget: float) -> None:
    noise = least_noise(rate, number, epsilon=budget, delta=DELTA)
    assert noise is not None
    assert epsilon([steps(rate, noise, number)], DELTA) <= budget
    assert epsilon([steps(rate, noise - 0.001, number)], DELTA) > budget


def test_noise_out_of_bounds() -> None:
    assert least_noise(1.0, 1_000_000, epsilon=0.01, delta=1e-9) is None
    assert least_noise(0.001, 1, epsilon=200.0, delta=1e-3) == accountant.LEAST_NOISE


def test_rounds_left_is_the_last_number_within_the_budget() -> None:
    spent, each = [steps(0.05, 4.0, 100), steps(0.03, 3.0, 40)], steps(0.05, 3.0, 20)
    left = rounds_left(spent, each, epsilon=1.0, delta=DELTA)
    assert left > 1
    assert epsilon([*spent, *[each] * left], DELTA) <= 1.0 < epsilon([*spent, *[each] * (left + 1)], DELTA)


def test_no_round_is_left_where_the_budget_is_spent() -> None:
    spent, each = [steps(0.05, 3.0, 100)], steps(0.05, 5.0, 20)
    for budget in (epsilon(spent, DELTA) - 0.01, epsilon(spent, DELTA)):
        assert rounds_left(spent, each, epsilon=budget, delta=DELTA) == 0
    assert rounds_left([], steps(0.001, 900.0, 1), epsilon=100.0, delta=DELTA) == accountant.MOST_ROUNDS


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(UsageError, match="needs dp_accounting, which is not installed") as caught:
        epsilon([steps(0.1, 1.0, 1)], DELTA)
    assert caught.value.hint == 'pip install "fedcli[privacy]"'

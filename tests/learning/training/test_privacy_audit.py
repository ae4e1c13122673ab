"""`benchmarks/privacy_audit.py`: what the attack finds in scores whose ε is known, and in trainings."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import norm

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("privacy_audit", Path(__file__).parents[3] / "benchmarks" / "privacy_audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_without_an_error_the_bound_is_what_the_number_of_trainings_allows(audit: ModuleType) -> None:
    """Clopper and Pearson's upper bound of no error in 30 is 1 - 0.025^(1/30)."""
    upper = 1 - 0.025 ** (1 / 30)
    finding = audit.Finding(false_positives=(0, 30), false_negatives=(0, 30))
    assert finding.lower_bound == pytest.approx(math.log((1 - 1e-5 - upper) / upper), rel=1e-9)
    assert audit.Finding(false_positives=(15, 30), false_negatives=(15, 30)).lower_bound == 0
    assert audit.Finding(false_positives=(30, 30), false_negatives=(0, 30)).lower_bound == 0


def test_the_bound_of_a_gaussian_mechanism_stays_below_its_epsilon(audit: ModuleType) -> None:
    """Balle & Wang 2018: ε of scores that the canary moves by 2 deviations; at most one attack in twenty may find more."""
    shift, exact = 2.0, 9.9973
    delta = norm.cdf(shift / 2 - exact / shift) - math.exp(exact) * norm.cdf(-shift / 2 - exact / shift)
    assert delta == pytest.approx(1e-5, rel=1e-3)
    generator = np.random.default_rng(3)
    bounds = [audit.attack(generator.standard_normal(200), generator.standard_normal(200) + shift).lower_bound for _ in range(20)]
    assert max(bounds) < exact
    assert np.median(bounds) > 1
    nothing = [audit.attack(*generator.standard_normal((2, 100))).lower_bound for _ in range(60)]
    assert np.mean(np.array(nothing) > 0) <= 0.1


def test_without_noise_the_canary_is_seen(audit: ModuleType) -> None:
    """Eight trainings of each kind without an error show an ε of 0.53."""
    assert audit.run(audit.audits()[0], 16).lower_bound > 0.3


@pytest.mark.slow
def test_the_attack_finds_no_more_than_is_claimed_and_sees_too_little_noise(audit: ModuleType) -> None:
    without, *honest, weak = audit.audits()
    assert audit.run(without, 80).lower_bound > 2
    for row in honest:
        assert audit.run(row, 80).lower_bound <= row.claimed
    assert audit.run(weak, 80).lower_bound > weak.claimed

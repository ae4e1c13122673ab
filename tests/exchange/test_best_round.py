"""How the sites' validation kappas choose the best round: nobody counts by more patients than it has published."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedcli.exchange.history import Weighting
from fedcli.plan import Evaluation, Part, Plan
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import PLAN, cohort

SITES = ("north", "south", "valley")


def made(plan: Plan = PLAN, claimed: int = 10**9, facts: tuple[str, ...] = SITES) -> HandmadeHistory:
    """Return three rounds of which all but valley prefer the newest; valley prefers φ(0), and claims many patients."""
    history = HandmadeHistory(sites=SITES, plan=plan)
    for site in facts:
        history.dataset(site, cohort(images=(700, 100, 200)))  # 25 validation patients
    history.round()
    for number in (1, 2, 3):
        for site in SITES:
            kappa = 1.0 - number / 10 if site == "valley" else number / 5
            history.update(site, number, received=kappa, validated=claimed if site == "valley" else 25)
        history.round()
    return history


@pytest.mark.parametrize("facts", [SITES, ("north",), ()])
def test_a_claim_of_many_patients_steers_nothing(facts: tuple[str, ...]) -> None:
    history = made(facts=facts).history
    assert history.weighting is (Weighting.BOUNDED if facts == SITES else Weighting.EQUAL)
    assert history.best_round() == 2
    assert history.global_kappas() == pytest.approx([1.3 / 3, 1.6 / 3, 1.9 / 3, None])


@pytest.mark.parametrize("patients", [200, 10**9])
def test_a_record_of_many_patients_steers_nothing(patients: int) -> None:
    """The liar's own data set record says what it claims."""
    history = made(claimed=patients)
    known = cohort(images=(700, 100, 200))
    parts = tuple(replace(part, patients=patients) if part.part is Part.VALIDATION else part for part in known.parts)
    history.dataset("valley", replace(known, parts=parts))
    assert history.history.best_round() == 2
    assert history.history.global_kappas()[0] == pytest.approx((25 * 0.2 * 2 + 50 * 0.9) / 100)


def test_whoever_claims_fewer_counts_by_fewer() -> None:
    assert made(claimed=5).history.global_kappas()[0] == pytest.approx((25 * 0.2 * 2 + 5 * 0.9) / 55)


def test_an_older_plan_keeps_its_choice() -> None:
    older = replace(PLAN, evaluation=Evaluation(bounded_weights=False))
    history = made(older).history
    assert history.weighting is Weighting.CLAIMED
    assert history.best_round() == 0

"""How the sites' validation kappas choose the best round: nobody counts by more patients than it has published."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli.exchange.history.best_round import BestRound, best_round
from fedcli.exchange.history.global_scores import Weighting, global_kappas, global_merits, weighting_of
from fedcli.plan import Choice, Evaluation, Part, Plan
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import PLAN, cohort

if TYPE_CHECKING:
    from fedcli.exchange.history import History

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
    assert weighting_of(history) is (Weighting.BOUNDED if facts == SITES else Weighting.EQUAL)
    assert best_round(history).round == 2
    assert global_kappas(history) == pytest.approx([1.3 / 3, 1.6 / 3, 1.9 / 3, None])


@pytest.mark.parametrize("patients", [200, 10**9])
def test_a_record_of_many_patients_steers_nothing(patients: int) -> None:
    """The liar's own data set record says what it claims."""
    history = made(claimed=patients)
    known = cohort(images=(700, 100, 200))
    parts = tuple(replace(part, patients=patients) if part.part is Part.VALIDATION else part for part in known.parts)
    history.dataset("valley", replace(known, parts=parts))
    assert best_round(history.history).round == 2
    assert global_kappas(history.history)[0] == pytest.approx((25 * 0.2 * 2 + 50 * 0.9) / 100)


def test_whoever_claims_fewer_counts_by_fewer() -> None:
    assert global_kappas(made(claimed=5).history)[0] == pytest.approx((25 * 0.2 * 2 + 5 * 0.9) / 55)


def scored(*figures: tuple[float | None, float | None], choice: Choice = Choice.HIGHEST, patients: int = 25) -> History:
    """Return a history whose φ(0), φ(1) … have these kappas and losses at its two sites."""
    history = HandmadeHistory(sites=SITES[:2], plan=replace(PLAN, evaluation=replace(PLAN.evaluation, choice=choice)))
    history.round()
    for number, (kappa, loss) in enumerate(figures, 1):
        for site in SITES[:2]:
            history.update(site, number, received=kappa, loss=loss, validated=patients)
        history.round()
    return history.history


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        # φ(0) has the highest kappa and is no candidate; equal kappas, and undefined ones, are told apart by the loss
        ([(0.9, 0.1), (0.0, 1.3), (0.0, 1.1), (0.0, 1.2)], BestRound(round=2, by_loss=True)),
        ([(0.9, 0.1), (None, 1.3), (None, 1.2), (None, 1.1)], BestRound(round=3, by_loss=True)),
        ([(0.0, 1.3), (0.0, 1.3), (None, 0.2), (0.0, 0.7)], BestRound(round=2, by_loss=True)),
        ([(0.0, 1.3), (0.2, 1.3), (0.5, 1.9), (0.5, 1.4), (0.4, 0.1)], BestRound(round=3, by_loss=True)),
        ([(0.0, 1.3), (0.5, 1.2), (0.5, 1.4)], BestRound(round=1, by_loss=True)),
        ([(0.0, 1.3), (0.5, 1.2), (0.6, 1.4)], BestRound(round=2)),
        ([(0.0, None), (0.5, None), (0.5, None)], BestRound(round=1)),  # losses are withheld: the earlier one
        ([(0.0, None), (0.0, None), (0.0, None)], BestRound(round=2)),  # and nothing speaks for the earlier one
        ([(0.3, 1.3)], BestRound(round=1, scored=False)),
    ],
)
def test_a_trained_model_is_chosen_and_of_equal_ones_that_with_the_lowest_loss(
    figures: list[tuple[float | None, float | None]], best: BestRound
) -> None:
    assert best_round(scored(*figures)) == best


@pytest.mark.parametrize(
    ("kappas", "patients", "best"),
    [
        # an error of 1 / (2 √n): 0.125 for 2 × 8 patients, 0.05 for 2 × 50
        ((0.9, 0.3, 0.7, 0.6, 0.5), 8, 3),
        ((0.9, 0.3, 0.7, 0.6, 0.5), 50, 2),
        ((0.9, 0.3, 0.7, 0.66, 0.5), 50, 3),
        ((0.0, None, None, 0.0), 8, 1),  # no kappa says anything, and the losses are equal
        ((0.9, 0.5, 0.2, 0.1), 10_000, 1),
        ((0.9,), 8, 1),
    ],
)
def test_the_newest_within_an_error_of_the_highest_is_chosen(kappas: tuple[float | None, ...], patients: int, best: int) -> None:
    history = scored(*((kappa, 1.0) for kappa in kappas), choice=Choice.WITHIN_ERROR, patients=patients)
    assert best_round(history).round == best


def test_a_loss_of_one_site_does_not_decide() -> None:
    history = HandmadeHistory(sites=SITES, plan=replace(PLAN, evaluation=replace(PLAN.evaluation, choice=Choice.HIGHEST)))
    history.round()
    for number, loss in enumerate((1.3, 1.0, 0.8), 1):
        for site in SITES:
            history.update(site, number, received=0.0, loss=(1e50 if number == 3 else 0.8) if site == "valley" else loss)
        history.round()
    assert best_round(history.history) == BestRound(round=1, by_loss=True)
    assert global_merits(history.history)[2].loss == pytest.approx((0.8 + 0.8 + 1.6) / 3)


def test_an_older_plan_keeps_its_choice() -> None:
    older = replace(PLAN, evaluation=Evaluation(bounded_weights=False))
    history = made(older).history
    assert weighting_of(history) is Weighting.CLAIMED
    assert best_round(history).round == 1  # valley would have φ(0), which nobody has trained


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        # φ(0) is no candidate, so it is in no mean
        ([(0.9, 1.0), (0.3, 1.0), (0.8, 1.0), (0.2, 1.0), (0.6, 1.0)], BestRound(round=2)),
        ([(0.9, 1.0), (0.3, 1.0), (0.8, 1.0), (0.6, 1.0), (0.4, 1.0)], BestRound(round=4)),
        ([(0.9, 1.0), (0.8, 1.0), (0.2, 1.0), (0.5, 1.0)], BestRound(round=1)),
        ([(0.9, 1.0), (0.6, 1.0), (None, 1.0), (0.5, 1.0), (0.7, 1.0)], BestRound(round=1)),  # undefined, so 0
        ([(0.9, 1.0), (None, None), (0.5, 1.0), (0.5, 0.9)], BestRound(round=3, by_loss=True)),  # no figure: not in the mean
        ([(0.9, 1.0), (None, 1.2), (None, 1.1)], BestRound(round=2, by_loss=True)),
        ([(0.3, 1.3)], BestRound(round=1, scored=False)),
    ],
)
def test_the_highest_mean_of_three_rounds_is_chosen(figures: list[tuple[float | None, float | None]], best: BestRound) -> None:
    assert best_round(scored(*figures, choice=Choice.SMOOTHED)) == best


def test_the_round_of_the_lowest_loss_is_chosen_whatever_its_kappa() -> None:
    history = scored((0.9, 0.1), (0.8, 0.9), (0.2, 0.5), (0.7, 0.6), choice=Choice.LOWEST_LOSS)
    assert best_round(history) == BestRound(round=2, by_loss=True)
    assert global_kappas(history)[2] == pytest.approx(0.2)

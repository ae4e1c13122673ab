"""What a site with few patients is told before it trains, and what to set instead."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli.disclosure.small_sites import FEW_STEPS, FEW_VALIDATED, advice_on_data, few_steps, few_validated
from fedcli.plan import (
    Choice,
    Normalisation,
    OptimizerState,
    Part,
    PatientPrivacy,
    Plan,
    Protection,
    Sampling,
    Statistics,
)
from tests.fixtures.records import cohort

if TYPE_CHECKING:
    from fedcli.cohort import Cohort

PLAN = Plan(name="small", rounds=20)
RESET, KEPT = PLAN, replace(PLAN, training=replace(PLAN.training, optimizer_state=OptimizerState.KEEP))
GROUP = replace(KEPT, network=replace(KEPT.network, normalisation=Normalisation.GROUP))
PRIVATE = replace(
    PLAN,
    network=GROUP.network,
    training=replace(PLAN.training, sampling=Sampling.SHUFFLED),
    privacy=PatientPrivacy(mechanism=Protection.PATIENT_DP_SGD),
)
RECALIBRATED = replace(KEPT, training=replace(KEPT.training, statistics=Statistics.RECALIBRATE))


@pytest.mark.parametrize(
    ("plan", "steps", "told"),
    [
        (RESET, 5, {"optimizer_state", "statistics"}),
        (KEPT, FEW_STEPS - 1, {"statistics"}),
        (RESET, FEW_STEPS, set()),
        (GROUP, 5, set()),
        (PRIVATE, 5, set()),
        (RECALIBRATED, 5, set()),
        (replace(RESET, network=replace(PLAN.network, name="small")), 5, {"optimizer_state"}),  # it has GroupNorm
    ],
)
def test_few_steps_matter_to_what_begins_anew_and_to_what_follows_slowly(plan: Plan, steps: int, told: set[str]) -> None:
    sentence = few_steps(plan, steps)
    assert (sentence is not None) == bool(told)
    assert {name for name in ("optimizer_state", "statistics") if f"training.{name}" in (sentence or "")} == told
    assert sentence is None or sentence.startswith(f"only {steps} steps per round: ")


@pytest.mark.parametrize(("patients", "told"), [(0, False), (8, True), (FEW_VALIDATED - 1, True), (FEW_VALIDATED, False)])
def test_few_validation_patients_do_not_tell_models_apart(patients: int, *, told: bool) -> None:
    sentence = few_validated(PLAN, patients)
    assert (sentence is not None) == told


def test_the_error_of_a_kappa_is_named_and_another_choice_where_the_highest_counts() -> None:
    assert "only 16 validation patients: their kappa is uncertain by ±0.12" in (few_validated(PLAN, 16) or "")
    near = replace(PLAN, evaluation=replace(PLAN.evaluation, choice=Choice.WITHIN_ERROR))
    assert "within-error" in (few_validated(PLAN, 16) or "")
    assert "within-error" not in (few_validated(near, 16) or "")


def test_no_choice_is_offered_where_no_kappa_is_published() -> None:
    open_plan = replace(PLAN, evaluation=replace(PLAN.evaluation, min_cell=0))
    assert "only 1 validation patient: a kappa of so few is withheld, so that the newest model is kept" in (
        few_validated(PLAN, 1) or ""
    )
    assert "within-error" not in (few_validated(PLAN, 9) or "")
    assert "within-error" in (few_validated(open_plan, 9) or "")


def data(training: int, validation: int) -> Cohort:
    """Return a site's data with four images of each patient."""
    known = cohort(images=(training, 4 * validation, 4))
    parts = tuple(replace(part, patients=validation) if part.part is Part.VALIDATION else part for part in known.parts)
    return replace(known, parts=parts)


def test_a_site_is_told_by_its_data() -> None:
    assert len(advice_on_data(PLAN, data(120, 8))) == 2  # ceil(120 / 32) = 4 steps
    assert advice_on_data(PLAN, data(44_115, 1584)) == ()  # client 3 of the paper's Table 1
    assert advice_on_data(PLAN, data(0, 0)) == ()  # a tester
    assert advice_on_data(replace(PLAN, training=replace(PLAN.training, epochs=7)), data(120, 60)) == ()

"""What a site with few training or validation patients should know before it trains: the cause, and what to set instead.

The thresholds and what is advised were found by experiments on phantoms (docs/studies.md, "Small sites").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.disclosure.levels import Level, level_of
from fedcli.measures import kappa_error
from fedcli.plan import Choice, Normalisation, OptimizerState, Part, Statistics
from fedcli.text.wording import counted

if TYPE_CHECKING:
    from fedcli.cohort import Cohort
    from fedcli.plan import Plan

FEW_STEPS = 25
"""Running statistics and Adam's first moment move by a tenth in every step: after so many, 0.9^25 = 7 % of what was is left."""
FEW_VALIDATED = 40
"""Below so many patients, a standard error of kappa, 1 / (2 √n), is above 0.08: more than most rounds differ by, and the highest
kappa chooses worse than "within-error" does."""


def few_steps(plan: Plan, steps: int) -> str | None:
    """Return what to say to a site whose rounds have so few local steps; None where they suffice, or do not matter."""
    if plan.privacy.promised:  # then there is no BatchNorm, and a round's random numbers are its own
        return None
    remedies = []
    if plan.training.optimizer_state is OptimizerState.RESET:
        remedies.append('Adam, reset in each round, does not settle (the plan may set training.optimizer_state = "keep")')
    if plan.training.statistics is Statistics.AVERAGE and _may_have_batch_norm(plan):
        remedies.append(
            "BatchNorm's running statistics lag behind, so that the first rounds' models score as if untrained (the plan may set "
            'training.statistics = "recalibrate")'
        )
    return f"only {counted(steps, 'step')} per round: {'; '.join(remedies)}" if remedies and steps < FEW_STEPS else None


def _may_have_batch_norm(plan: Plan) -> bool:
    return plan.network.normalisation is Normalisation.BATCH and plan.network.name != "small"


def few_validated(plan: Plan, patients: int) -> str | None:
    """Return what to say to a site with few validation patients; None where they suffice, or there are none."""
    if not 0 < patients < FEW_VALIDATED:
        return None
    few = f"only {counted(patients, 'validation patient')}"
    remedy = "only a new federation can have a larger split.validation"
    if level_of(patients, plan.evaluation.min_cell) is Level.NOTHING:
        return f"{few}: a kappa of so few is withheld, so that the newest model is kept ({remedy})"
    if plan.evaluation.choice is Choice.HIGHEST:
        remedy = f'the plan may set evaluation.choice = "within-error"; {remedy}'
    return f"{few}: their kappa is uncertain by ±{kappa_error(patients):.2f}, more than most rounds differ by ({remedy})"


def advice(plan: Plan, steps: int, validated: int) -> tuple[str, ...]:
    """Return what a site should know that takes so many steps a round, and has so many validation patients."""
    return tuple(sentence for sentence in (few_steps(plan, steps), few_validated(plan, validated)) if sentence is not None)


def advice_on_data(plan: Plan, cohort: Cohort) -> tuple[str, ...]:
    """Return what a site with these data should know before it trains; nothing if it does not train."""
    images = cohort.part(Part.TRAIN).images
    steps = plan.training.epochs * plan.training.steps_per_epoch(images)
    return advice(plan, steps, cohort.part(Part.VALIDATION).patients) if images else ()

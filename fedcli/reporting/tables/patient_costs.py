"""What the sites' updates have cost their training patients: as the sites claim, and computed again from their records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedcli.exchange.history import Problem
from fedcli.plan import Encoding, OptimizerState, PrivateOptimizer
from fedcli.privacy.accountant import epsilon
from fedcli.privacy.noise_floor import NoisyDescent
from fedcli.text.wording import number_ranges

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import PrivacyClaim, UpdateRecord
    from fedcli.plan import Plan

_SLACK = 1e-3
"""Another version of the accountant may round differently by this share of ε."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientCost:
    """What one site has spent.

    Attributes:
        site: The site.
        updates: Its updates, used or not.
        patients: N₀, the number of training patients that it has declared.
        noise: σ of its newest update.
        steps: Steps of all updates.
        delta: δ.
        claimed: ε of everything up to its newest update, as the site says; it may know of more than it has published.
        recomputed: ε of all its updates, computed here; None where it was not, or where the site has changed N₀.
        rounds_left: How many more rounds fit into the budget, by what was recomputed; None where that was not computed.
    """

    site: str
    updates: int
    patients: int
    noise: float
    steps: int
    delta: float
    claimed: float
    recomputed: float | None = None
    rounds_left: int | None = None


def patient_costs(history: History) -> tuple[PatientCost, ...]:
    """Return what each site that has sent an update claims; nothing where the plan promises nothing."""
    return tuple(_claimed(site, updates) for site, updates in _updates(history).items())


def recomputed_costs(history: History) -> tuple[tuple[PatientCost, ...], tuple[Problem, ...]]:
    """Compute ε of each site again from its records; also return what is wrong with its claims.

    Raises:
        UsageError: dp-accounting is not installed.
    """
    costs, problems = [], []
    for site, updates in _updates(history).items():
        cost, newest = _claimed(site, updates), updates[-1]
        if (changed := _other_patients(updates)) is not None:
            problems.append(changed)
        else:
            again = epsilon([update.record.privacy.cost for update in updates if update.record.privacy], cost.delta)
            cost = replace(cost, recomputed=again)
            if cost.claimed < again * (1 - _SLACK):
                message = (
                    f"{newest.key}: {site} claims to have spent epsilon {cost.claimed:.4g} at delta {cost.delta:g}, "
                    f"recomputed from its {len(updates)} updates: {again:.4g}"
                )
                problems.append(Problem(key=newest.key, message=message))
        costs.append(cost)
    return tuple(costs), tuple(problems)


def too_quiet(history: History, values: int) -> tuple[Problem, ...]:
    """Return the used updates that are shorter than the noise that they state allows; honest ones are, once in 10^12.

    Only rounds with such a floor that state norms are looked at; `without_floor` says which have none.

    Args:
        history: The verified records; a replay has compared the norms in them.
        values: The number of float weights of the network.
    """
    problems = []
    for closed in history.rounds[1:]:
        record = closed.record
        plan = _plan_of(history, record.round)
        if record.base_norm is None or _reason(plan):
            continue
        for item in record.contributions:
            update = history.updates.get((item.site, record.round))
            if update is None or (claim := update.record.privacy) is None:
                continue
            floor = _descent(plan, record.round, claim, values, record.base_norm).shortest
            if item.norm is not None and item.norm < floor:
                message = (
                    f"{update.key}: the norm of {item.site}'s update of round {record.round} is {item.norm:.4g}, expected at "
                    f"least {floor:.4g} with the noise that it states: less noise was added, or none"
                )
                problems.append(Problem(key=update.key, message=message))
    return tuple(problems)


def without_floor(history: History) -> tuple[str, ...]:
    """Say of which private rounds the updates' lengths show nothing, and why: one sentence for each reason."""
    rounds: dict[str, list[int]] = {}
    for closed in history.rounds[1:]:
        number = closed.record.round
        plan = _plan_of(history, number)
        if closed.record.contributions and plan.privacy.promised and (reason := _reason(plan)):
            rounds.setdefault(reason, []).append(number)
    return tuple(
        f"the lengths of the updates of round{'s' * (len(numbers) > 1)} {number_ranges(numbers)} do not show whether they have "
        f"the noise that they state: {reason}"
        for reason, numbers in rounds.items()
    )


def _plan_of(history: History, number: int) -> Plan:
    return [item.record for item in history.federations if item.record.from_round <= number][-1].plan


def _reason(plan: Plan) -> str:
    """Return why an update has no length below which noise is missing; empty if it has one."""
    reasons = {
        "masking hides each site's update": plan.aggregation.masking,
        "Adam scales its steps": plan.privacy.optimizer is not PrivateOptimizer.SGD,
        "momentum is kept from round to round": plan.training.optimizer_state is not OptimizerState.RESET,
        "FedProx draws the weights back": bool(plan.training.proximal),
        f"they are rounded to {plan.updates.encoding}": plan.updates.encoding is not Encoding.FLOAT32,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _descent(plan: Plan, number: int, claim: PrivacyClaim, values: int, start: float) -> NoisyDescent:
    return NoisyDescent(
        values=values,
        steps=claim.steps,
        rate=plan.training.rate_in(number),
        momentum=plan.privacy.momentum,
        clipping=claim.clipping,
        batch=claim.batch,
        noise=claim.noise,
        decay=plan.training.weight_decay,
        start=start,
    )


def _updates(history: History) -> dict[str, list[Verified[UpdateRecord]]]:
    """Return each site's updates under a promise, by round; the ledger has checked each against the plan."""
    updates: dict[str, list[Verified[UpdateRecord]]] = {}
    for (site, _), update in sorted(history.updates.items()):
        if update.record.privacy is not None:
            updates.setdefault(site, []).append(update)
    return updates


def _claimed(site: str, updates: list[Verified[UpdateRecord]]) -> PatientCost:
    claims = [update.record.privacy for update in updates if update.record.privacy is not None]
    newest = claims[-1]
    return PatientCost(
        site=site,
        updates=len(claims),
        patients=newest.patients,
        noise=newest.noise,
        steps=sum(claim.steps for claim in claims),
        delta=newest.delta,
        claimed=newest.epsilon,
    )


def _other_patients(updates: list[Verified[UpdateRecord]]) -> Problem | None:
    """Return a problem if the site has declared different numbers of patients: nothing is composed that a liar made long."""
    first = updates[0].record
    for update in updates[1:]:
        claim, declared = update.record.privacy, first.privacy.patients if first.privacy else 0
        if claim is not None and claim.patients != declared:
            message = (
                f"{update.key}: {first.party} declares {claim.patients} training patients in round {update.record.round}, "
                f"expected {declared}, as in round {first.round}: the number is declared once"
            )
            return Problem(key=update.key, message=message)
    return None

"""What a federation has cost the patients that train, from the signed records of its drop folder only."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.errors import TrustError
from fedcli.party.history.history_reader import read_history
from fedcli.plan.patient_privacy import steps_per_epoch
from fedcli.privacy.accountant import PrivateSteps, require_package, rounds_left
from fedcli.reporting.tables.patient_costs import PatientCost, recomputed_costs
from fedcli.results import Result, Status
from fedcli.text.wording import counted

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.exchange.history import History, Problem
    from fedcli.party.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacySpentRequest:
    """Whose costs to compute.

    Attributes:
        source: The drop folder, and the coordinator's key that the records are verified against.
    """

    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacySpentResult(Result):
    """What the federation has cost.

    Attributes:
        epsilon: The plan's budget; null if it promises nothing.
        delta: δ, likewise.
        sites: What each site's updates have cost, claimed and recomputed, and how many more rounds fit as the plan is.
        problems: What is wrong with the records, and with the claims.
    """

    epsilon: float | None
    delta: float | None
    sites: tuple[PatientCost, ...]
    problems: tuple[Problem, ...]


def privacy_spent(request: PrivacySpentRequest, environment: Environment) -> PrivacySpentResult:
    """Compute ε of every site again from its signed updates, used or not.

    Raises:
        UsageError: dp-accounting is not installed.
        TrustError: The folder holds no federation that verifies.
        StoreError: The drop folder cannot be read.
    """
    require_package()
    with tempfile.TemporaryDirectory(prefix="fedcli-privacy-") as scratch:
        history, _ = read_history(request.source.folder(Path(scratch)))
    if not history.federations:
        message = "\n".join(problem.message for problem in history.problems)
        raise TrustError(message or f"{request.source.address}: contains no federation")
    settings = history.plan.privacy
    costs, wrong = recomputed_costs(history)
    with environment.progress.track("composing", len(costs), "sites") as advance:
        sites = []
        for cost in costs:
            sites.append(replace(cost, rounds_left=_rounds_left(history, cost)))
            advance(1, "")
    problems = (*history.problems, *wrong)
    return PrivacySpentResult(
        status=Status.FAILED if problems else Status.DONE,
        message=_in_words(history, costs, len(problems)),
        epsilon=settings.epsilon if settings.promised else None,
        delta=settings.delta if settings.promised else None,
        sites=tuple(sites),
        problems=problems,
    )


def _rounds_left(history: History, cost: PatientCost) -> int | None:
    """Return how many more rounds fit, by what is recomputed; what a site has made and not published leaves fewer."""
    if cost.recomputed is None:
        return None
    plan = history.plan
    spent = [item.record.privacy.cost for (site, _), item in history.updates.items() if site == cost.site and item.record.privacy]
    steps = plan.training.epochs * steps_per_epoch(plan, cost.patients)
    each = PrivateSteps(sampling_rate=min(1.0, plan.privacy.batch / cost.patients), noise=plan.privacy.noise, steps=steps)
    return rounds_left(spent, each, epsilon=plan.privacy.epsilon, delta=plan.privacy.delta)


def _in_words(history: History, costs: tuple[PatientCost, ...], problems: int) -> str:
    settings = history.plan.privacy
    if not settings.promised:
        return f"the plan {history.plan.name} promises no privacy: its updates have no bound"
    if problems:
        return f"{counted(problems, 'problem')}: what the sites claim does not hold as it is"
    most = max((cost.recomputed or 0 for cost in costs), default=0.0)
    return f"epsilon {most:.3g} of {settings.epsilon:g} is spent at delta {settings.delta:g} where most is; claimed by the sites"

"""The coordinator changes the plan: the sites' operators approve it before they train under it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedcli.errors import ApprovalError, UsageError
from fedcli.exchange.recipients import Reader, check_auditors
from fedcli.exchange.records import LEAST_PARTICIPANTS
from fedcli.party.amendment import amend_federation, first_round
from fedcli.party.command_lines import WORKSPACE, party_command
from fedcli.party.grants import grant_everything
from fedcli.party.party import Party
from fedcli.plan.settings import PlanChange, plan_changes
from fedcli.results import Result, Status
from fedcli.text.wording import counted
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendRequest:
    """What to change.

    Attributes:
        root: The coordinator's workspace.
        plan: The new plan.
        changes: What it changes, as `inspect` returned it.
        reason: Why, in words for the sites; the federation record states it.
    """

    root: Path
    plan: Plan
    changes: tuple[PlanChange, ...]
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """What a new plan would change.

    Attributes:
        plan: The new plan.
        changes: Setting by setting; empty if nothing changes.
        from_round: First round under it.
        prepare_again: Whether the sites must prepare their data again.
        fewer_rounds_only: Whether it is the plan before with fewer rounds, which the sites have approved with it.
    """

    plan: Plan
    changes: tuple[PlanChange, ...]
    from_round: int
    prepare_again: bool
    fewer_rounds_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendResult(Result):
    """The plan that is in force from a round on."""

    plan: str
    from_round: int
    changes: tuple[PlanChange, ...]


def inspect(root: Path, plan: Plan | None, environment: Environment) -> Amendment:
    """Return what a plan would change; None ends the federation: the plan in force with as few rounds as there can be.

    Raises:
        UsageError: It changes what cannot change: classes, network, seed, split, or rounds that are done; or no round is done.
    """
    with Party.at_work(root, WorkspaceRole.COORDINATOR, environment) as party:
        return _amendment(party, plan or _last_plan(party))


def _last_plan(party: Party) -> Plan:
    """Return the newest plan, whose last round is the newest one, or the open one if updates of it have arrived."""
    ledger = party.ledger
    plan, opened = ledger.newest_federation.plan, ledger.newest_round + 1
    last = min(first_round(party, ledger.newest_federation.trainers) - 1, plan.rounds)
    if last < 1:
        msg = f"{party.store.address}: no round is done, so there is nothing to end"
        raise UsageError(msg, hint=f"`{party.command('status')}` shows whose turn it is")
    if last == opened:
        party.environment.progress.event(f"round {opened} is the last one, since updates of it have arrived")
    return replace(plan, rounds=last)


def amend(request: AmendRequest, environment: Environment) -> AmendResult:
    """Put a plan in force, if it still changes what `inspect` returned.

    Raises:
        UsageError: It changes what cannot change.
        ApprovalError: It would change something else now.
    """
    with Party.at_work(request.root, WorkspaceRole.COORDINATOR, environment) as party:
        amendment = _amendment(party, request.plan)
        if amendment.changes != request.changes:
            msg = "the plan in force has changed meanwhile"
            raise ApprovalError(msg, hint=f"look at the changes again: `{party.command('amend', '--plan', 'PLAN')}`")
        from_round, message = amendment.from_round, "this plan is in force already"
        if amendment.changes:
            from_round = amend_federation(party, from_round, plan=request.plan, reason=request.reason).from_round
            again = "; the sites prepare their data again" if amendment.prepare_again else ""
            command = party_command(WORKSPACE, "approve")
            message = f"The plan is in force from round {from_round} on"
            if amendment.fewer_rounds_only:
                message += f"; its last round is {request.plan.rounds}, which no site needs to approve"
            else:
                message += f"; every site looks at it and approves it: `{command}`{again}"
        _grant_new_auditors(party, request.plan)  # again, too, where an earlier run was stopped before it
        return AmendResult(
            status=Status.PUBLISHED if amendment.changes else Status.DONE,
            message=message,
            plan=request.plan.digest,
            from_round=from_round,
            changes=amendment.changes,
        )


def _grant_new_auditors(party: Party, plan: Plan) -> None:
    """Grant every auditor of the plan what was sealed before it was named; one who can open it already gets nothing."""
    for auditor in plan.confidentiality.auditors:
        if granted := grant_everything(party, Reader(auditor.name, auditor.public_key)):
            party.environment.progress.event(f"auditor {auditor.name} can now open {counted(granted, 'file')} sealed before")


def _amendment(party: Party, plan: Plan) -> Amendment:
    check_auditors(plan)
    ledger = party.ledger
    before = ledger.newest_federation.plan
    if (plan.classes, plan.network) != (before.classes, before.network):
        msg = (
            f"classes and network cannot change: expected {', '.join(before.classes)} and {before.network.name}, "
            f"found {', '.join(plan.classes)} and {plan.network.name}"
        )
        raise UsageError(msg, hint="another network needs another federation: fedcli init in an empty drop folder")
    if _parts(plan) not in (_parts(before), _parts(ledger.federations[0].record.plan)):
        msg = "seed and split cannot change: patients that have trained would come into the test part"
        raise UsageError(msg, hint=f"the plan in force has {_parts(before)}")
    if plan.confidentiality.sealing is not before.confidentiality.sealing:
        msg = f"sealing cannot change, expected confidentiality.sealing = {str(before.confidentiality.sealing).lower()}"
        raise UsageError(msg, hint="write that into the plan; a federation that seals from its beginning is another one")
    trainers = ledger.newest_federation.trainers
    if plan.aggregation.masking and not before.aggregation.masking and len(trainers) < LEAST_PARTICIPANTS:
        msg = f"masking needs at least {LEAST_PARTICIPANTS} sites that train, and the federation has {len(trainers)}"
        raise UsageError(msg, hint="admit more sites first")
    if plan.privacy.mechanism is not before.privacy.mechanism:
        msg = (
            f'privacy.mechanism cannot change, expected "{before.privacy.mechanism}": a promise holds for all rounds or for none'
        )
        raise UsageError(msg, hint="write that into the plan; a federation with another promise is another one")
    if plan.tree.above != before.tree.above:
        msg = f"tree.above cannot change: expected {before.tree.above[:12] or 'none'}, found {plan.tree.above[:12] or 'none'}"
        raise UsageError(msg, hint=f'write tree.above = "{before.tree.above}" into the plan')
    if plan.rounds < ledger.newest_round:
        msg = f"round {ledger.newest_round} is done, expected at least as many rounds, found {plan.rounds}"
        raise UsageError(msg)
    return Amendment(
        plan=plan,
        changes=plan_changes(before, plan),
        from_round=first_round(party, (member.site for member in ledger.newest_federation.members)),
        prepare_again=plan.preparation != before.preparation,
        fewer_rounds_only=plan == replace(before, rounds=plan.rounds) and plan.rounds < before.rounds,
    )


def _parts(plan: Plan) -> str:
    """Return what decides the part of each patient, as settings."""
    split = plan.split
    return f"seed {plan.seed} and train, validation, test = {split.train:g}, {split.validation:g}, {split.test:g}"

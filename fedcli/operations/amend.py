"""The coordinator changes the plan: the sites' operators approve it before they train under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import ApprovalError, UsageError
from fedcli.party.amendment import amend_federation, first_round
from fedcli.party.command_lines import WORKSPACE, party_command
from fedcli.party.party import Party
from fedcli.plan.settings import PlanChange, plan_changes
from fedcli.results import Result, Status
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
    """

    root: Path
    plan: Plan
    changes: tuple[PlanChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """What a new plan would change.

    Attributes:
        digest: Digest of the new plan.
        changes: Setting by setting; empty if nothing changes.
        from_round: First round under it.
        prepare_again: Whether the sites must prepare their data again.
    """

    digest: str
    changes: tuple[PlanChange, ...]
    from_round: int
    prepare_again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendResult(Result):
    """The plan that is in force from a round on."""

    plan: str
    from_round: int
    changes: tuple[PlanChange, ...]


def inspect(root: Path, plan: Plan, environment: Environment) -> Amendment:
    """Return what a plan would change.

    Raises:
        UsageError: It changes what cannot change: classes, network, seed, split, or rounds that are done.
    """
    with Party.at_work(root, WorkspaceRole.COORDINATOR, environment) as party:
        return _amendment(party, plan)


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
            from_round = amend_federation(party, from_round, plan=request.plan).from_round
            again = "; the sites prepare their data again" if amendment.prepare_again else ""
            command = party_command(WORKSPACE, "approve")
            message = (
                f"The plan is in force from round {from_round} on; every site looks at it and approves it: `{command}`{again}"
            )
        return AmendResult(
            status=Status.PUBLISHED if amendment.changes else Status.DONE,
            message=message,
            plan=request.plan.digest,
            from_round=from_round,
            changes=amendment.changes,
        )


def _amendment(party: Party, plan: Plan) -> Amendment:
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
    if plan.rounds < ledger.newest_round:
        msg = f"round {ledger.newest_round} is done, expected at least as many rounds, found {plan.rounds}"
        raise UsageError(msg)
    return Amendment(
        digest=plan.digest,
        changes=plan_changes(before, plan),
        from_round=first_round(party, (member.site for member in ledger.newest_federation.members)),
        prepare_again=plan.preparation != before.preparation,
    )


def _parts(plan: Plan) -> str:
    """Return what decides the part of each patient, as settings."""
    split = plan.split
    return f"seed {plan.seed} and train, validation, test = {split.train:g}, {split.validation:g}, {split.test:g}"

"""A site's operator approves the plan in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import ApprovalError
from fedcli.party.party import Party
from fedcli.plan.settings import PlanChange, plan_changes
from fedcli.results import Result, Status
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveRequest:
    """What the operator approves.

    Attributes:
        root: The site's workspace.
        digest: Digest of the plan, or its beginning.
    """

    root: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The plan in force, and what the operator approved before.

    Attributes:
        plan: The plan in force.
        digest: Its digest.
        approved: Whether it is the approved plan already.
        changes: Where it differs from the approved plan; all settings if none was approved.
    """

    plan: Plan
    digest: str
    approved: bool
    changes: tuple[PlanChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveResult(Result):
    """The plan that is now approved."""

    site: str
    plan: str
    changes: tuple[PlanChange, ...]


def inspect(root: Path, environment: Environment) -> Proposal:
    """Return the plan in force and how it differs from the approved one."""
    with Party.at_work(root, WorkspaceRole.SITE, environment) as party:
        return _proposal(party)


def approve(request: ApproveRequest, environment: Environment) -> ApproveResult:
    """Approve the plan in force, if it has this digest.

    Raises:
        ApprovalError: Another plan is in force.
    """
    with Party.at_work(request.root, WorkspaceRole.SITE, environment) as party:
        proposal = _proposal(party)
        if not request.digest or not proposal.digest.startswith(request.digest):
            msg = f"the plan in force is {proposal.digest[:12]}, expected {request.digest[:12]}"
            raise ApprovalError(msg, hint=f"look at the plan again: `{party.command('approve')}`")
        party.workspace.approve(proposal.plan)
        return ApproveResult(
            status=Status.DONE,
            message=f"The plan is approved; next: `{party.command('train-round')}`",
            site=party.name,
            plan=proposal.digest,
            changes=proposal.changes,
        )


def _proposal(party: Party) -> Proposal:
    approval, plan = party.workspace.approval, party.plan
    return Proposal(
        plan=plan,
        digest=plan.digest,
        approved=approval is not None and approval.digest == plan.digest,
        changes=plan_changes(approval.plan if approval else None, plan),
    )

"""A site's operator agrees to the plan in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import ApprovalError
from fedcli.party.party import Party
from fedcli.plan.settings import flat_settings
from fedcli.results import Result, Status
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A setting that differs from the plan approved before; an empty text where it is in one plan alone."""

    setting: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The plan in force, and what the operator agreed to before.

    Attributes:
        plan: The plan in force.
        digest: Its digest.
        approved: Whether it is the approved one already.
        changes: Where it differs from the approved one; all settings where none was approved.
    """

    plan: Plan
    digest: str
    approved: bool
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveResult(Result):
    """The plan that is now approved."""

    site: str
    plan: str
    changes: tuple[Change, ...]


def inspect(root: Path, environment: Environment) -> Proposal:
    """Return the plan in force and how it differs from the approved one."""
    with Party.at_work(root, WorkspaceRole.SITE, environment) as party:
        return _proposal(party)


def approve(root: Path, digest: str, environment: Environment) -> ApproveResult:
    """Approve the plan in force, if it still has this digest.

    Raises:
        ApprovalError: The plan in force is another one by now.
    """
    with Party.at_work(root, WorkspaceRole.SITE, environment) as party:
        proposal = _proposal(party)
        if not proposal.digest.startswith(digest):
            msg = f"the plan in force is {proposal.digest[:12]}, expected {digest[:12]}"
            raise ApprovalError(msg, hint="look at the plan again: fedcli approve")
        party.workspace.approve(proposal.plan)
        return ApproveResult(
            status=Status.DONE,
            message="The plan is approved; fedcli train-round goes on",
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
        changes=changes(approval.plan if approval else None, plan),
    )


def changes(before: Plan | None, after: Plan) -> tuple[Change, ...]:
    """Return every setting that differs between two plans, sorted by name."""
    old = flat_settings(before) if before else {}
    new = flat_settings(after)
    return tuple(
        Change(setting=name, before=old.get(name, ""), after=new.get(name, ""))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )

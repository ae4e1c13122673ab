"""A site's operator approves the plan in force, or ahead the plan that is in force from a later round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import ApprovalError, TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.keys import verify_keys
from fedcli.exchange.recipients import Reader
from fedcli.exchange.records import Purpose, key_for
from fedcli.party.grants import grant_everything
from fedcli.party.masking.roster import approve_roster, roster_fingerprint, unapproved_roster
from fedcli.party.party import Party
from fedcli.plan.settings import PlanChange, plan_changes
from fedcli.results import Result, Status
from fedcli.site.selection import newest_state
from fedcli.workspace import CONFIRMED_RECOVERY, ConfirmedRecovery, WorkspaceRole

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
        members: Fingerprint of the members' names and keys; None approves no members.
    """

    root: Path
    digest: str
    members: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The plan to look at, and what the operator approved before.

    Attributes:
        plan: The plan in force, or, if that is approved, the plan that is in force from a later round.
        digest: Its digest.
        from_round: The first round under it.
        coming: Whether it is not in force yet.
        approved: Whether it is approved already.
        changes: Where it differs from the approved plan; all settings if none was approved.
        members: Where the plan masks: fingerprint of the names and keys of the members that train, if they are not approved yet.
        sites: Their names.
    """

    plan: Plan
    digest: str
    from_round: int
    coming: bool
    approved: bool
    changes: tuple[PlanChange, ...]
    members: str | None = None
    sites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveResult(Result):
    """The plan that is now approved, and the first round under it."""

    site: str
    plan: str
    from_round: int
    changes: tuple[PlanChange, ...]


def inspect(root: Path, environment: Environment) -> Proposal:
    """Return the plan to look at, and how it differs from the approved one.

    Raises:
        TrustError: It would move patients that have trained here into another part.
    """
    with Party.at_work(root, WorkspaceRole.SITE, environment) as party:
        return _proposal(party)


def approve(request: ApproveRequest, environment: Environment) -> ApproveResult:
    """Approve the plan that `inspect` returns, if it has this digest.

    Raises:
        ApprovalError: It is another plan.
        TrustError: It would move patients that have trained here into another part.
    """
    with Party.at_work(request.root, WorkspaceRole.SITE, environment) as party:
        proposal = _proposal(party)
        if not request.digest or not proposal.digest.startswith(request.digest):
            what = f"the plan from round {proposal.from_round} on" if proposal.coming else "the plan in force"
            msg = f"{what} is {proposal.digest[:12]}, expected {request.digest[:12]}"
            raise ApprovalError(msg, hint=f"look at the plan again: `{party.command('approve')}`")
        _approve_members(party, proposal, request.members)
        party.workspace.approve(proposal.plan, ahead=proposal.coming)
        message = f"The plan is approved; next: `{party.command('train-round')}`"
        if proposal.coming:
            message = f"The plan that is in force from round {proposal.from_round} on is approved ahead"
        if proposal.members is not None and request.members is None:
            message += f"; the members, {proposal.members}, are not: compare this with the other sites, and approve it"
        return ApproveResult(
            status=Status.DONE,
            message=message,
            site=party.name,
            plan=proposal.digest,
            from_round=proposal.from_round,
            changes=proposal.changes,
        )


def _approve_members(party: Party, proposal: Proposal, fingerprint: str | None) -> None:
    if fingerprint is None:
        return
    if proposal.members not in {None, fingerprint}:
        msg = f"the members ({', '.join(proposal.sites)}) have the fingerprint {proposal.members}, expected {fingerprint}"
        raise ApprovalError(msg, hint="ask the other sites and the coordinator by telephone who has been admitted")
    if proposal.members is not None:
        approve_roster(party.workspace, fingerprint)


def confirm_coordinator(root: Path, fingerprint: str, environment: Environment) -> None:
    """Confirm the coordinator's key that the recovery key has brought in, if it has this fingerprint.

    The coordinator may have lost its encryption key with the other one: it can then open what this site can.

    Raises:
        UsageError: The recovery key has replaced no key.
        ApprovalError: The key has another fingerprint.
    """
    with Party.at_work(root, WorkspaceRole.SITE, environment, confirmed=False) as party:
        recovery = party.ledger.recovery
        if recovery is None:
            msg = f"{party.name}: the recovery key has not replaced the coordinator's key, so there is none to confirm"
            raise UsageError(msg)
        present = verify_keys(recovery.record.coordinator)[0].fingerprint
        if present != fingerprint:
            msg = f"{recovery.key}: the coordinator's key is {present}, expected {fingerprint}"
            raise ApprovalError(msg, hint="stop, and ask the coordinator by telephone: somebody else may hold the recovery key")
        key, listed = key_for(Purpose.ENCRYPTION, recovery.record.coordinator), party.ledger.newest_federation.keys_of(party.name)
        if key is not None and listed and recovery.record.plan.confidentiality.sealing:
            grant_everything(party, Reader(layout.COORDINATOR, key.public_key))
        party.workspace.save(CONFIRMED_RECOVERY, ConfirmedRecovery(record=recovery.digest))


def _proposal(party: Party) -> Proposal:
    workspace, ledger = party.workspace, party.ledger
    force, newest = ledger.in_force(ledger.newest_round + 1).record, ledger.newest_federation
    approved = workspace.approved_digests
    coming = newest.plan != force.plan and force.plan.digest in approved
    plan = newest.plan if coming else force.plan
    before = workspace.approval.plan if workspace.approval else None
    if before is not None and newest_state(workspace) is not None and (plan.seed, plan.split) != (before.seed, before.split):
        msg = f"{party.name}: the plan {plan.digest[:12]} has another seed or split, which moves patients that have trained here"
        raise TrustError(msg, hint="both are fixed by the first plan; the coordinator amends it back")
    roster = unapproved_roster(workspace, ledger)
    return Proposal(
        plan=plan,
        digest=plan.digest,
        from_round=newest.from_round if coming else force.from_round,
        coming=coming,
        approved=plan.digest in approved,
        changes=plan_changes(before, plan),
        members=roster_fingerprint(roster) if roster is not None else None,
        sites=roster.trainers if roster is not None else (),
    )

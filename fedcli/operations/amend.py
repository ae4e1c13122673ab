"""The coordinator changes the plan: the sites' operators approve it before they train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import ApprovalError, UsageError
from fedcli.operations.approve import changes
from fedcli.party.amendment import amend_federation, first_round
from fedcli.party.party import Party
from fedcli.results import Result, Status
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.operations.approve import Change
    from fedcli.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """What a new plan would change.

    Attributes:
        digest: The new plan's.
        changes: Setting by setting; empty where nothing changes.
        from_round: First round under it.
        prepare_again: Whether the sites must prepare their data anew.
    """

    digest: str
    changes: tuple[Change, ...]
    from_round: int
    prepare_again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendResult(Result):
    """The plan that is in force from a round on."""

    plan: str
    from_round: int
    changes: tuple[Change, ...]


def inspect(root: Path, plan: Plan, environment: Environment) -> Amendment:
    """Return what a plan would change.

    Raises:
        UsageError: It changes what cannot change: classes, network, or rounds that have been.
    """
    with Party.at_work(root, WorkspaceRole.COORDINATOR, environment) as party:
        return _amendment(party, plan)


def amend(root: Path, plan: Plan, amendment: Amendment, environment: Environment) -> AmendResult:
    """Put a plan in force, if it still changes what `inspect` told.

    Raises:
        UsageError: It changes what cannot change.
        ApprovalError: Something else would change by now.
    """
    with Party.at_work(root, WorkspaceRole.COORDINATOR, environment) as party:
        found = _amendment(party, plan)
        if found.changes != amendment.changes:
            msg = "the plan in force has changed meanwhile"
            raise ApprovalError(msg, hint="look at the changes again: fedcli amend")
        if not found.changes:
            message = "this plan is in force already"
            return AmendResult(
                status=Status.DONE, message=message, plan=plan.digest, from_round=found.from_round, changes=found.changes
            )
        record = amend_federation(party, found.from_round, plan=plan)
        again = "; the sites prepare their data again" if found.prepare_again else ""
        return AmendResult(
            status=Status.PUBLISHED,
            message=f"The plan is in force from round {record.from_round} on; every site looks at it with fedcli approve{again}",
            plan=plan.digest,
            from_round=record.from_round,
            changes=found.changes,
        )


def _amendment(party: Party, plan: Plan) -> Amendment:
    ledger = party.ledger
    before = ledger.newest_federation.plan
    if (plan.classes, plan.network) != (before.classes, before.network):
        msg = (
            f"classes and network stay what they are: expected {', '.join(before.classes)} and {before.network.name}, "
            f"found {', '.join(plan.classes)} and {plan.network.name}"
        )
        raise UsageError(msg, hint="another network is another federation: fedcli init in an empty drop folder")
    if plan.rounds < ledger.newest_round:
        msg = f"round {ledger.newest_round} has been, expected at least as many rounds, found {plan.rounds}"
        raise UsageError(msg)
    return Amendment(
        digest=plan.digest,
        changes=changes(before, plan),
        from_round=first_round(party, (member.site for member in ledger.newest_federation.members)),
        prepare_again=plan.preparation != before.preparation,
    )

"""The command approve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption
from fedcli.cli.questions import ApprovePlanOption, confirm, require_approval

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.approve import ApproveResult

EXAMPLE = "Example: fedcli approve -C north"


NewCoordinatorKeyOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|FINGERPRINT",
        help="The coordinator's new key, as the coordinator read it to you after the recovery key had replaced the old one.",
    ),
]


ApproveMembersOption = Annotated[
    str | None,
    typer.Option(
        metavar="FINGERPRINT",
        help="Where the plan masks updates: the fingerprint of all members, as you have compared it with the other sites.",
    ),
]


def approve(
    workspace: WorkspaceOption = Path(),
    approve_plan: ApprovePlanOption = None,
    approve_members: ApproveMembersOption = None,
    coordinator_key: NewCoordinatorKeyOption = None,
    json: JsonOption = False,
) -> None:
    """Look at the plan in force, or at the one that comes, and what has changed since the last approval, and approve it."""

    def work(environment: Environment) -> ApproveResult:
        from fedcli.exchange.keys import fingerprint_of
        from fedcli.operations import approve as operation

        if coordinator_key is not None:
            operation.confirm_coordinator(workspace, fingerprint_of(coordinator_key), environment)
        proposal = operation.inspect(workspace, environment)
        if not proposal.approved:
            when = f"in force from round {proposal.from_round} on" if proposal.coming else "in force"
            require_approval(proposal.plan, proposal.changes, approve_plan, when)
        members = approve_members
        if members is None and proposal.members is not None:
            question = (
                f"The members that train are {', '.join(proposal.sites)}: {proposal.members}. Do all other sites see the same?"
            )
            members = proposal.members if confirm(question) else None
        request = operation.ApproveRequest(root=workspace, digest=proposal.digest, members=members)
        return operation.approve(request, environment)

    Invocation(command="approve", as_json=json, root=workspace).run(work)

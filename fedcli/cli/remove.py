"""The command remove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption, YesOption
from fedcli.cli.questions import confirm
from fedcli.errors import ApprovalError

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.remove import RemoveResult

EXAMPLE = "Example: fedcli remove -C coordinator north --reason 'left the study'"


def remove(
    site: Annotated[str, typer.Argument(help="The member's name.")],
    workspace: WorkspaceOption = Path(),
    reason: Annotated[str, typer.Option(help="The reason, which the site sees.")] = "",
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Remove a member: its updates are refused from the next round on; what it contributed stays in the history."""

    def work(environment: Environment) -> RemoveResult:
        from fedcli.operations.remove import RemoveRequest
        from fedcli.operations.remove import remove as operation

        if not yes and not confirm(f"Remove {site} from the federation?"):
            msg = f"{site}: not removed"
            raise ApprovalError(msg, hint="--yes removes it without asking")
        return operation(RemoveRequest(root=workspace, site=site, reason=reason), environment)

    Invocation(command="remove", as_json=json, root=workspace).run(work)

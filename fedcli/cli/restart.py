"""The command restart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, TarsOption, WorkspaceOption, YesOption
from fedcli.cli.questions import confirm
from fedcli.errors import ApprovalError

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.restart import RestartResult

EXAMPLE = 'Example: fedcli restart -C coordinator --from 12 --reason "north withdraws its patients"'


def restart(
    number: Annotated[int, typer.Option("--from", metavar="ROUND", min=0, help="The round to go back to.")],
    reason: Annotated[str, typer.Option(help="The reason, which the round record states.")],
    workspace: WorkspaceOption = Path(),
    tars: TarsOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Go back to an earlier round: the next round has its model again, and the sites train on from there.

    Updates of the open round are discarded, with the reason. The rounds between stay in the history. A restart uses up one of the
    plan's rounds.
    """

    def work(environment: Environment) -> RestartResult:
        from fedcli.operations.restart import RestartRequest
        from fedcli.operations.restart import restart as operation

        if not yes and not confirm(f"Go back to the model of round {number}?"):
            msg = f"round {number}: not restarted"
            raise ApprovalError(msg, hint="--yes restarts without asking")
        return operation(RestartRequest(root=workspace, number=number, reason=reason, tars=tuple(tars or ())), environment)

    Invocation(command="restart", as_json=json, root=workspace).run(work)

"""The command amend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption, YesOption
from fedcli.cli.questions import confirm
from fedcli.errors import ApprovalError

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.amend import AmendResult

EXAMPLE = "Example: fedcli amend -C coordinator --plan plan.toml"


def amend(
    plan: Annotated[Path, typer.Option(help="The changed plan, a TOML file.")],
    workspace: WorkspaceOption = Path(),
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Change the plan from the next round on; every site's operator approves it before the site trains."""

    def work(environment: Environment) -> AmendResult:
        from fedcli import plan as plans
        from fedcli.operations import amend as operation

        changed = plans.load(plan)
        amendment = operation.inspect(workspace, changed, environment)
        if amendment.changes and not yes:
            _, err = render.consoles()
            rows = [(item.setting, item.before, item.after) for item in amendment.changes]
            render.print_table(err, "What changes", ("setting", "before", "after"), rows)
            if not confirm(f"Put these changes in force from round {amendment.from_round} on?"):
                msg = "the plan is not changed"
                raise ApprovalError(msg, hint="--yes changes it without asking")
        request = operation.AmendRequest(root=workspace, plan=changed, changes=amendment.changes)
        return operation.amend(request, environment)

    Invocation(command="amend", as_json=json, root=workspace).run(work)

"""The command amend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption, YesOption
from fedcli.cli.questions import confirm
from fedcli.errors import ApprovalError, UsageError

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.amend import AmendResult

EXAMPLE = "Example: fedcli amend -C coordinator --plan plan.toml"


def amend(
    plan: Annotated[Path | None, typer.Option(help="The changed plan, a TOML file.")] = None,
    workspace: WorkspaceOption = Path(),
    finish: Annotated[
        bool,
        typer.Option("--finish", help="End the federation after the newest round, or the open one if it has updates."),
    ] = False,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; the sites see it, and the record states it.")] = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Change the plan from the next round on, which every site's operator approves; or end the federation early."""

    def work(environment: Environment) -> AmendResult:
        from fedcli import plan as plans
        from fedcli.operations import amend as operation

        if (plan is None) is not finish or (finish and not reason):
            msg = "expected either --plan FILE, or --finish with --reason TEXT"
            raise UsageError(msg)
        amendment = operation.inspect(workspace, plans.load(plan) if plan else None, environment)
        if amendment.changes and not yes:
            _, err = render.consoles()
            rows = [(item.setting, item.before, item.after) for item in amendment.changes]
            render.print_table(err, "What changes", ("setting", "before", "after"), rows)
            if not confirm(f"Put these changes in force from round {amendment.from_round} on?"):
                msg = "the plan is not changed"
                raise ApprovalError(msg, hint="--yes changes it without asking")
        request = operation.AmendRequest(root=workspace, plan=amendment.plan, changes=amendment.changes, reason=reason)
        return operation.amend(request, environment)

    Invocation(command="amend", as_json=json, root=workspace).run(work)

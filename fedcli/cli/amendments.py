"""The commands that amend a running federation: remove, amend, rotate-key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render
from fedcli.cli.running import Conduct, JsonOption, WorkspaceOption, confirm
from fedcli.errors import ApprovalError

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.amend import AmendResult
    from fedcli.operations.approve import Change
    from fedcli.operations.remove import RemoveResult
    from fedcli.operations.rotate_key import RotateResult

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    panel = "Coordinator"
    app.command(rich_help_panel=panel, epilog="Example: fedcli remove -C coordinator north")(remove)
    app.command(rich_help_panel=panel, epilog="Example: fedcli amend -C coordinator --plan plan.toml")(amend)
    app.command("rotate-key", rich_help_panel="Everybody", epilog="Example: fedcli rotate-key -C north")(rotate_key)


def remove(
    site: Annotated[str, typer.Argument(help="The member's name.")],
    workspace: WorkspaceOption = Path(),
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Remove a member: its updates are refused from the next round on; what it contributed stays in the history."""

    def work(environment: Environment) -> RemoveResult:
        from fedcli.operations.remove import remove as operation

        if not yes and not confirm(f"Remove {site} from the federation?"):
            msg = f"{site}: not removed"
            raise ApprovalError(msg, hint="--yes removes it without asking")
        return operation(workspace, site, environment)

    Conduct(command="remove", as_json=json, root=workspace).run(work)


def amend(
    plan: Annotated[Path, typer.Option(help="The changed plan, a TOML file.")],
    workspace: WorkspaceOption = Path(),
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Change the plan from the next round on; every site's operator approves it before the site trains on."""

    def work(environment: Environment) -> AmendResult:
        from fedcli import plan as plans
        from fedcli.operations import amend as operation

        found = plans.load(plan)
        amendment = operation.inspect(workspace, found, environment)
        if amendment.changes and not yes:
            _, err = render.consoles()
            show_changes(err, amendment.changes)
            if not confirm(f"Put these changes in force from round {amendment.from_round} on?"):
                msg = "the plan is not changed"
                raise ApprovalError(msg, hint="--yes changes it without asking")
        return operation.amend(workspace, found, amendment, environment)

    Conduct(command="amend", as_json=json, root=workspace).run(work)


def show_changes(out: Console, changes: tuple[Change, ...]) -> None:
    """Print what differs between two plans."""
    rows = [(item.setting, item.before, item.after) for item in changes]
    render.print_table(out, "What changes", ("setting", "before", "after"), rows)


def rotate_key(
    key: Annotated[
        Path | None, typer.Option(help="The new Ed25519 private key; without it one is made in the workspace.")
    ] = None,
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Take a new signing key, for which the present one vouches."""

    def work(environment: Environment) -> RotateResult:
        from fedcli.operations.rotate_key import rotate

        return rotate(workspace, key, environment)

    Conduct(command="rotate-key", as_json=json, root=workspace).run(work)

"""The command that says what is wrong, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from fedcli.cli.running import Conduct, JsonOption, WorkspaceOption, absolute
from fedcli.cli.store_options import EndpointOption, HostKeyOption, SshKeyOption, options_of
from fedcli.results import Status

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.doctor import DoctorResult

NOT_WELL = 9
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(rich_help_panel="Everybody", epilog="Example: fedcli doctor -C north")(doctor)


def doctor(
    drop: Annotated[str | None, typer.Argument(help="A drop folder's path or URL; without it the workspace and its own.")] = None,
    workspace: WorkspaceOption = Path(),
    host_key: HostKeyOption = "",
    ssh_key: SshKeyOption = None,
    endpoint: EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Look for whatever would stop the next command, and say what to do about it."""
    found: list[Status] = []

    def work(environment: Environment) -> DoctorResult:
        from fedcli.operations.doctor import doctor as operation

        options = options_of(drop, host_key, ssh_key, endpoint)
        result = operation(absolute(drop) if drop else None, workspace, environment, options)
        found.append(result.status)
        return result

    Conduct(command="doctor", as_json=json).run(work, show)  # no log: a workspace may take none
    if found == [Status.FAILED]:
        raise typer.Exit(NOT_WELL)


def show(out: Console, result: DoctorResult) -> None:
    """Print one line a check, with the remedy of each that asks for one below what was found."""
    table = Table(title=f"Examined: {result.party or result.drop or 'this machine'}", title_justify="left", title_style="bold")
    for column in ("check", "outcome", "found, and what to do"):
        table.add_column(column, overflow="fold")
    for finding in result.findings:
        told = Text(finding.found)
        if finding.remedy:
            told.append(f"\n→ {finding.remedy}", style="bold")
        table.add_row(finding.name, Text(finding.outcome, style=_STYLES[finding.outcome]), told)
    out.print(table)

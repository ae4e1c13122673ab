"""The command doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption
from fedcli.cli.source_options import DropArgument, EndpointOption, HostKeyOption, SshKeyOption, chosen_source
from fedcli.errors import UsageError
from fedcli.results import Status

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.doctor import DoctorResult

EXAMPLE = "Example: fedcli doctor -C north"
CHECK_FAILED = 9
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}


def doctor(
    drop: DropArgument = None,
    workspace: WorkspaceOption = Path(),
    host_key: HostKeyOption = "",
    ssh_key: SshKeyOption = None,
    endpoint: EndpointOption = "",
    notify: Annotated[
        bool, typer.Option("--notify", help="Also send a test notice over every channel that \\[notify] in workspace.toml names.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check for everything that would stop the next command, and say what to do about it."""

    def work(environment: Environment) -> DoctorResult:
        from fedcli.operations.doctor import DoctorRequest
        from fedcli.operations.doctor import doctor as operation

        source = None
        if drop is not None or host_key or ssh_key is not None or endpoint:
            source = chosen_source(drop, workspace, host_key=host_key, ssh_key=ssh_key, endpoint=endpoint)
        if notify and source is not None:
            msg = "--notify goes with a workspace, whose settings name the channels"
            raise UsageError(msg, hint="leave the address out, and name the workspace with -C")
        return operation(DoctorRequest(root=workspace, source=source, notify=notify), environment)

    result = Invocation(command="doctor", as_json=json).run(work, _show)  # no log: the workspace may not be writable
    if result.status is Status.FAILED:
        raise typer.Exit(CHECK_FAILED)


def _show(out: Console, result: DoctorResult) -> None:
    table = Table(title=f"Examined: {result.party or result.drop or 'this machine'}", title_justify="left", title_style="bold")
    for column in ("check", "outcome", "found, and what to do"):
        table.add_column(column, overflow="fold")
    for finding in result.findings:
        text = Text(finding.found)
        if finding.remedy:
            text.append(f"\n→ {finding.remedy}", style="bold")
        table.add_row(finding.name, Text(finding.outcome, style=_STYLES[finding.outcome]), text)
    out.print(table)

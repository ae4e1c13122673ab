"""The command export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render, source_options
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.export import ExportResult

EXAMPLE = "Examples: fedcli export stick/to-north.tar -C coordinator --since 12; fedcli export whole.tar demo/drop"


def export(
    tar: Annotated[Path, typer.Argument(help="The tar to write; nothing is overwritten.")],
    drop: source_options.DropArgument = None,
    since: Annotated[int, typer.Option(min=0, max=9999, help="The first round in it.")] = 0,
    workspace: WorkspaceOption = Path(),
    coordinator_key: source_options.CoordinatorKeyOption = None,
    host_key: source_options.HostKeyOption = "",
    ssh_key: source_options.SshKeyOption = None,
    endpoint: source_options.EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Verify a drop folder, and write its records and artifacts into a tar for a place that cannot reach it."""

    def work(environment: Environment) -> ExportResult:
        from fedcli.operations.export import ExportRequest
        from fedcli.operations.export import export as operation

        source = source_options.chosen_source(drop, workspace, coordinator_key, host_key, ssh_key, endpoint)
        return operation(ExportRequest(source=source, file=tar, since=since), environment)

    Invocation(command="export", as_json=json).run(work, _show)


def _show(out: Console, result: ExportResult) -> None:
    for problem in result.left_out:
        render.print_line(out, f"· left out: {problem.message}")

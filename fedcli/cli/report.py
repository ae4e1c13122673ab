"""The command report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render, source_options
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, ModelOption, WorkspaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.report import ReportResult

EXAMPLE = "Example: fedcli report demo/drop --out report --coordinator-key SHA256:…"


def report(
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    drop: source_options.DropArgument = None,
    workspace: WorkspaceOption = Path(),
    model: ModelOption = "best",
    coordinator_key: source_options.CoordinatorKeyOption = None,
    host_key: source_options.HostKeyOption = "",
    ssh_key: source_options.SshKeyOption = None,
    endpoint: source_options.EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Write the paper's tables and figures as one HTML page, CSV, SVG and PNG, and a model card, from the drop folder."""

    def work(environment: Environment) -> ReportResult:
        from fedcli.operations.report import ReportRequest
        from fedcli.operations.report import report as operation

        source = source_options.chosen_source(drop, workspace, coordinator_key, host_key, ssh_key, endpoint)
        return operation(ReportRequest(source=source, out=out, model=model), environment)

    Invocation(command="report", as_json=json).run(work, _show)


def _show(out: Console, result: ReportResult) -> None:
    render.print_line(out, result.statement)
    for failure in result.failures:
        render.print_line(out, f"could not be made: {failure}")

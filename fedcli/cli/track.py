"""The command track."""

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
    from fedcli.operations.track import TrackResult

EXAMPLE = "Example: fedcli track demo/drop --to mlflow:http://127.0.0.1:5000 --coordinator-key SHA256:…"


def track(
    to: Annotated[
        list[str],
        typer.Option(metavar="csv:DIR|tensorboard:DIR|mlflow:URI", help="The tracker; may be given several times."),
    ],
    drop: source_options.DropArgument = None,
    workspace: WorkspaceOption = Path(),
    coordinator_key: source_options.CoordinatorKeyOption = None,
    host_key: source_options.HostKeyOption = "",
    ssh_key: source_options.SshKeyOption = None,
    endpoint: source_options.EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Add what the records say of rounds and sites to MLflow, TensorBoard or CSV files; run again, it adds only what is new."""

    def work(environment: Environment) -> TrackResult:
        from fedcli.operations.track import TrackRequest
        from fedcli.operations.track import track as operation

        source = source_options.chosen_source(drop, workspace, coordinator_key, host_key, ssh_key, endpoint)
        return operation(TrackRequest(source=source, trackers=tuple(to)), environment)

    Invocation(command="track", as_json=json).run(work, _show)


def _show(out: Console, result: TrackResult) -> None:
    render.print_line(out, result.statement)
    for problem in result.problems:
        render.print_line(out, f"left out: {problem.message}")

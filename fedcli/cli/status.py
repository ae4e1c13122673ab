"""The command status."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render, status_view
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption
from fedcli.cli.source_options import DropArgument, EndpointOption, HostKeyOption, SshKeyOption, chosen_source
from fedcli.environment import Environment, now
from fedcli.errors import FedcliError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.operations.status.overview import StatusResult

EXAMPLE = "Example: fedcli status demo/drop"

WatchOption = Annotated[
    bool,
    typer.Option("--watch", help="Keep looking; without a terminal, print one line (--json: one object) per change."),
]


def status(
    drop: DropArgument = None,
    workspace: WorkspaceOption = Path(),
    watch: WatchOption = False,
    poll: Annotated[float, typer.Option("--poll", min=1, help="Seconds between two looks with --watch.")] = 10.0,
    host_key: HostKeyOption = "",
    ssh_key: SshKeyOption = None,
    endpoint: EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Show the rounds and the sites of a federation, and whose turn it is."""

    def work(environment: Environment) -> StatusResult:
        from fedcli.operations.status.overview import StatusRequest
        from fedcli.operations.status.overview import status as operation

        source = chosen_source(drop, workspace, host_key=host_key, ssh_key=ssh_key, endpoint=endpoint)
        return operation(StatusRequest(source=source), environment)

    if watch:
        _watch(lambda: work(Environment()), poll, as_json=json)
    else:
        Invocation(command="status", as_json=json).run(work, lambda out, result: status_view.show(out, result, now()))


def _watch(look: Callable[[], StatusResult], poll: float, *, as_json: bool) -> None:
    from fedcli.cli.live_view import follow
    from fedcli.operations.status.watch import watch

    out, err = render.consoles()
    looks = watch(look, clock=now, sleep=time.sleep, seconds=poll)
    try:
        follow(looks, out, err, as_json=as_json)
    except FedcliError as error:
        render.print_error(err, "status", error, as_json=as_json)
        raise typer.Exit(error.exit_code) from error

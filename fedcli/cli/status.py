"""The command status: once, or as a live view (a full screen on a terminal, otherwise one line or JSON object per change)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

from fedcli.cli import render, status_view
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption
from fedcli.cli.source_options import DropArgument, EndpointOption, HostKeyOption, SshKeyOption, chosen_source
from fedcli.environment import Environment, now
from fedcli.errors import FedcliError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from fedcli.operations.status.overview import StatusResult
    from fedcli.operations.status.watch import Look

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
    from fedcli.operations.status.watch import watch

    out, err = render.consoles()
    looks = watch(look, clock=now, sleep=time.sleep, seconds=poll)
    try:
        follow(looks, out, err, as_json=as_json)
    except FedcliError as error:
        render.print_error(err, "status", error, as_json=as_json)
        raise typer.Exit(error.exit_code) from error


def follow(looks: Iterator[Look], out: Console, err: Console, *, as_json: bool) -> None:
    """Show looks until the user interrupts; the last state then stays on a terminal.

    Raises:
        FedcliError: A look failed for a reason that does not pass.
    """
    last: Look | None = None
    try:
        if out.is_terminal and not as_json:
            with Live(console=out, screen=True, auto_refresh=False) as live:
                for last in looks:
                    live.update(status_view.screen(out, last.result, last.moment, _footer(last)), refresh=True)
        else:
            for look in looks:
                if look.changed:
                    _tell(look, out, err, as_json=as_json)
    except KeyboardInterrupt:
        if last is not None:
            status_view.show(out, last.result, last.moment)
            render.print_line(out, last.result.message)


def _tell(look: Look, out: Console, err: Console, *, as_json: bool) -> None:
    if look.error is not None:
        render.print_error(err, "status", look.error, as_json=as_json)
    elif as_json:
        render.print_json("status", look.result)
    else:
        text = f"{look.moment:%Y-%m-%d %H:%M:%S} UTC {status_view.line(look.result)}"
        render.print_line(out, text)
        out.file.flush()  # a pipe gets the line now


def _footer(look: Look) -> Text:
    footer = Text(f"last look {look.moment:%Y-%m-%d %H:%M:%S} UTC; Ctrl-C exits", style="dim")
    if look.error is not None:
        footer = Text(f"cannot be read now: {look.error}; the last known state is above\n", style="red") + footer
    return footer

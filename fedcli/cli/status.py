"""The command status: once, or as a live view (a full screen on a terminal, otherwise one line or JSON object per change)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

from fedcli.cli import render, status_view
from fedcli.cli.invocation import Busy, Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption
from fedcli.cli.source_options import DropArgument, EndpointOption, HostKeyOption, SshKeyOption, chosen_source
from fedcli.environment import Environment, now
from fedcli.errors import ConfigurationError, FedcliError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from fedcli.operations.status.check import StatusCheck
    from fedcli.operations.status.federation_state import StatusResult
    from fedcli.operations.status.overview import StatusRequest
    from fedcli.operations.status.watch import Look

EXAMPLE = "Example: fedcli status demo/drop"

WatchOption = Annotated[
    bool,
    typer.Option("--watch", help="Keep looking; without a terminal, print one line (--json: one object) per change."),
]
PageOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Also write a page for the wall, which loads itself again every minute."),
]

CheckOption = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Answer as a Nagios plug-in: one line; exit 0, 1 (your turn), 2 (overdue or stopped) or 3 (cannot be read).",
    ),
]
MetricsOption = Annotated[
    Path | None,
    typer.Option("--prometheus", metavar="FILE", help="Also write the state for Prometheus' textfile collector."),
]


def status(
    drop: DropArgument = None,
    workspace: WorkspaceOption = Path(),
    watch: WatchOption = False,
    html: PageOption = None,
    prometheus: MetricsOption = None,
    check: CheckOption = False,
    poll: Annotated[float, typer.Option("--poll", min=1, help="Seconds between two looks with --watch.")] = 10.0,
    host_key: HostKeyOption = "",
    ssh_key: SshKeyOption = None,
    endpoint: EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Show the rounds and the sites of a federation, and whose turn it is."""
    own = workspace if drop is None else None

    def request() -> StatusRequest:
        from fedcli.operations.status.overview import StatusRequest

        if check and watch:
            msg = "--check answers once, and --watch does not end"
            raise UsageError(msg)
        source = chosen_source(drop, workspace, host_key=host_key, ssh_key=ssh_key, endpoint=endpoint)
        return StatusRequest(source=source, page=html, metrics=prometheus)

    def work(environment: Environment) -> StatusResult:
        from fedcli.operations.status.overview import status as operation

        return operation(request(), environment)

    if check:
        _check(request, Invocation(command="status", as_json=json, party=own))
    elif watch:
        _watch(lambda: work(Environment()), poll, as_json=json)
    else:
        writes = html is not None or prometheus is not None  # from cron, the files say it all
        invocation = Invocation(command="status", as_json=json, party=own, quiet=writes)
        invocation.run(work, lambda out, result: status_view.show(out, result, now()))


def _check(request: Callable[[], StatusRequest], invocation: Invocation) -> None:
    def work(environment: Environment) -> StatusCheck:
        from fedcli.operations.status.check import check, unknown

        try:
            return check(request(), environment)
        except ConfigurationError as error:
            return unknown(error)

    result = invocation.run(work)
    if not isinstance(result, Busy):
        raise typer.Exit(result.code)


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

"""Everybody's commands: status, verify, report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render, status_view
from fedcli.cli.running import Conduct, CoordinatorKeyOption, JsonOption, WorkspaceOption, absolute
from fedcli.cli.store_options import EndpointOption, HostKeyOption, SshKeyOption, options_of, store_options
from fedcli.environment import now
from fedcli.errors import FedcliError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.report import ReportResult
    from fedcli.operations.status.standing import StatusResult
    from fedcli.operations.verify import VerifyResult

DropArgument = Annotated[str, typer.Argument(help="The drop folder: a path, or a URL (file, sftp, s3, az, gs).")]
NOT_VERIFIED = 6


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    panel = "Everybody"
    app.command(rich_help_panel=panel, epilog="Example: fedcli status demo/drop")(status)
    app.command(rich_help_panel=panel, epilog="Example: fedcli verify demo/drop --replay --coordinator-key SHA256:…")(verify)
    app.command(rich_help_panel=panel, epilog="Example: fedcli report demo/drop --out report --coordinator-key SHA256:…")(report)


def status(
    drop: Annotated[str | None, typer.Argument(help="The drop folder; without it the workspace's.")] = None,
    workspace: WorkspaceOption = Path(),
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep looking; off a terminal a line, or with --json an object, for every change.")
    ] = False,
    poll: Annotated[float, typer.Option("--poll", min=1, help="Seconds between two looks with --watch.")] = 10.0,
    host_key: HostKeyOption = "",
    ssh_key: SshKeyOption = None,
    endpoint: EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Show where a federation stands, and whose turn it is."""

    def look() -> StatusResult:
        from fedcli.operations.status.standing import status as operation

        options = options_of(drop, host_key, ssh_key, endpoint)
        return operation(absolute(drop) if drop else None, workspace, now, options)

    if watch:
        _watch(look, poll, as_json=json)
    else:
        Conduct(command="status", as_json=json).run(lambda _: look(), lambda out, result: status_view.show(out, result, now()))


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


def verify(
    drop: DropArgument,
    replay: Annotated[bool, typer.Option("--replay", help="Recompute every global model and compare, bit for bit.")] = False,
    coordinator_key: CoordinatorKeyOption = None,
    write_allowed_signers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the keys for ssh-keygen -Y verify.")
    ] = None,
    expect_head: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="A round record that must be in the history, so that none is cut off.")
    ] = None,
    tars: Annotated[
        list[Path] | None, typer.Option("--with", metavar="TAR", help="Artifacts that were archived out of the drop folder.")
    ] = None,
    host_key: HostKeyOption = "",
    ssh_key: SshKeyOption = None,
    endpoint: EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Verify the whole history: every signature, every place, every artifact; with --replay every global model."""
    failed: list[bool] = []

    def work(environment: Environment) -> VerifyResult:
        from fedcli.exchange.keys import fingerprint_of
        from fedcli.operations.verify import verify as operation

        result, _ = operation(
            absolute(drop),
            progress=environment.progress,
            replay=replay,
            coordinator=fingerprint_of(coordinator_key) if coordinator_key else None,
            allowed_signers=write_allowed_signers,
            expect_head=expect_head,
            tars=tuple(tars or ()),
            options=store_options(host_key, ssh_key, endpoint),
        )
        failed.append(not result.consistent)
        return result

    Conduct(command="verify", as_json=json).run(work, _show_verified)
    if failed == [True]:
        raise typer.Exit(NOT_VERIFIED)


def _show_verified(out: Console, result: VerifyResult) -> None:
    for problem in result.problems:
        out.print(f"✗ {problem.message}", style="red", highlight=False, markup=False, soft_wrap=True)
    for key in result.unaccounted:
        out.print(f"· {key}: no verified record names this file; it takes no part", highlight=False, markup=False)
    rows = [
        ("federation", result.federation[:12]),
        ("head", f"round {result.round} of {result.rounds}, {result.head}"),
        ("records", str(result.records)),
        ("artifacts", str(result.artifacts) + (f", {result.archived} more archived" if result.archived else "")),
        ("rounds recomputed", str(result.replayed)),
    ]
    render.print_table(out, "What was checked", ("what", "value"), rows)


def report(
    drop: DropArgument,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    model: Annotated[
        str, typer.Option(metavar="best|final|SITE/KIND", help="The model of the model card; kinds: local, federated, finetuned.")
    ] = "best",
    coordinator_key: CoordinatorKeyOption = None,
    host_key: HostKeyOption = "",
    ssh_key: SshKeyOption = None,
    endpoint: EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Write the paper's tables and figures as one HTML page, CSV, SVG and PNG, and a model card, from the drop folder alone."""

    def work(environment: Environment) -> ReportResult:
        from fedcli.exchange.keys import fingerprint_of
        from fedcli.operations.report import report as operation

        return operation(
            absolute(drop),
            out,
            progress=environment.progress,
            coordinator=fingerprint_of(coordinator_key) if coordinator_key else None,
            model=model,
            options=store_options(host_key, ssh_key, endpoint),
        )

    def show(console: Console, result: ReportResult) -> None:
        console.print(result.statement, highlight=False, markup=False, soft_wrap=True)

    Conduct(command="report", as_json=json).run(work, show)

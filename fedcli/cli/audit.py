"""Everybody's commands: status, verify, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli import render
from fedcli.cli.conduct import Conduct, JsonOption, WorkspaceOption, absolute

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.operations.party import Environment
    from fedcli.operations.report import ReportResult
    from fedcli.operations.status import StatusResult
    from fedcli.operations.verify import VerifyResult

DropArgument = Annotated[str, typer.Argument(help="The drop folder: a path or file:// URL.")]
CoordinatorKeyOption = Annotated[
    str | None,
    typer.Option("--coordinator-key", metavar="FILE|FINGERPRINT", help="The coordinator's first key, not from the folder."),
]
NOT_VERIFIED = 6
_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    panel = "Everybody"
    app.command(rich_help_panel=panel, epilog="Example: fedcli status demo/drop")(status)
    app.command(rich_help_panel=panel, epilog="Example: fedcli verify demo/drop --replay --coordinator-key SHA256:…")(verify)
    app.command(rich_help_panel=panel, epilog="Example: fedcli report demo/drop --out report --coordinator-key SHA256:…")(report)


def status(
    drop: Annotated[str | None, typer.Argument(help="The drop folder; without it the workspace's.")] = None,
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Show where a federation stands, and whose turn it is."""

    def work(_environment: Environment) -> StatusResult:
        from fedcli.operations.status import status as operation

        return operation(absolute(drop) if drop else None, workspace)

    Conduct(command="status", as_json=json).run(work, _show_status)


def _show_status(out: Console, result: StatusResult) -> None:
    confirmed = "pinned in this workspace" if result.confirmed else "not confirmed"
    out.print(f"{result.name}: round {result.round} of {result.rounds}, in {result.drop}", highlight=False, markup=False)
    out.print(f"coordinator {result.coordinator}, {confirmed}", highlight=False, markup=False)
    rows = [
        (
            site.site,
            "in" if site.in_open_round else "awaited" if site.site in result.awaited else "—",
            str(site.updates),
            "—" if site.last_round is None else str(site.last_round),
            render.kappa(site.last_kappa),
            ", ".join(site.models) or "—",
            "yes" if site.evaluated else "no",
        )
        for site in result.sites
    ]
    opened = "no open round" if result.open_round is None else f"round {result.open_round}"
    columns = ("site", opened, "updates", "last round", "its kappa", "models shared", "evaluated")
    render.print_table(out, "Sites", columns, rows)
    rounds = [
        (
            str(item.round),
            f"{item.created:%Y-%m-%d %H:%M}",
            ", ".join(item.used) or "—",
            "; ".join((*item.absent, *item.rejected, *item.late)) or "—",
            render.kappa(item.kappa),
        )
        for item in result.history[-_SHOWN:]
    ]
    render.print_table(out, "Newest rounds", ("round", "published (UTC)", "used", "absent, rejected, late", "kappa"), rounds)
    for problem in result.problems:
        out.print(f"✗ {problem.message}", style="red", highlight=False, markup=False)


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
    json: JsonOption = False,
) -> None:
    """Verify the whole history: every signature, every place, every artifact; with --replay every global model."""
    failed: list[bool] = []

    def work(environment: Environment) -> VerifyResult:
        from fedcli.operations.verify import fingerprint_of
        from fedcli.operations.verify import verify as operation

        result, _ = operation(
            absolute(drop),
            progress=environment.progress,
            replay=replay,
            coordinator=fingerprint_of(coordinator_key) if coordinator_key else None,
            allowed_signers=write_allowed_signers,
            expect_head=expect_head,
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
        ("artifacts", str(result.artifacts)),
        ("rounds recomputed", str(result.replayed)),
    ]
    render.print_table(out, "What was checked", ("what", "value"), rows)


def report(
    drop: DropArgument,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    coordinator_key: CoordinatorKeyOption = None,
    json: JsonOption = False,
) -> None:
    """Write the paper's tables and figures as one HTML page, CSV, SVG and PNG, from the drop folder alone."""

    def work(environment: Environment) -> ReportResult:
        from fedcli.operations.report import report as operation
        from fedcli.operations.verify import fingerprint_of

        coordinator = fingerprint_of(coordinator_key) if coordinator_key else None
        return operation(absolute(drop), out, progress=environment.progress, coordinator=coordinator)

    def show(console: Console, result: ReportResult) -> None:
        console.print(result.statement, highlight=False, markup=False, soft_wrap=True)

    Conduct(command="report", as_json=json).run(work, show)

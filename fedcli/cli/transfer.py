"""The commands that carry and store drop folders: export, import, archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.running import Conduct, CoordinatorKeyOption, JsonOption, WorkspaceOption, absolute
from fedcli.cli.store_options import EndpointOption, HostKeyOption, SshKeyOption, options_of

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.archive import ArchiveResult
    from fedcli.operations.export import ExportResult
    from fedcli.operations.import_ import ImportResult

DropArgument = Annotated[str | None, typer.Argument(help="The drop folder; without it the workspace's.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    panel = "Everybody"
    app.command(
        rich_help_panel=panel,
        epilog="Examples: fedcli export stick/to-north.tar -C coordinator --since 12; fedcli export whole.tar demo/drop",
    )(export)
    app.command(
        "import",
        rich_help_panel=panel,
        epilog="Examples: fedcli import stick/to-north.tar -C north; fedcli import whole.tar copy --coordinator-key SHA256:…",
    )(import_)
    app.command(
        rich_help_panel=panel,
        epilog="Example: fedcli archive rounds-1-to-99.tar -C coordinator --before 100; then fedcli verify DROP --with that tar",
    )(archive)


def export(
    tar: Annotated[Path, typer.Argument(help="The tar to write; nothing is overwritten.")],
    drop: DropArgument = None,
    since: Annotated[int, typer.Option(min=0, max=9999, help="The first round in it.")] = 0,
    workspace: WorkspaceOption = Path(),
    coordinator_key: CoordinatorKeyOption = None,
    host_key: HostKeyOption = "",
    ssh_key: SshKeyOption = None,
    endpoint: EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Verify a drop folder, and write its records and artifacts into a tar for a place that cannot reach it."""

    def work(environment: Environment) -> ExportResult:
        from fedcli.exchange.keys import fingerprint_of
        from fedcli.operations.export import export as operation

        return operation(
            tar,
            absolute(drop) if drop else None,
            workspace,
            progress=environment.progress,
            since=since,
            coordinator=fingerprint_of(coordinator_key) if coordinator_key else None,
            options=options_of(drop, host_key, ssh_key, endpoint),
        )

    def show(out: Console, result: ExportResult) -> None:
        for problem in result.left_out:
            out.print(f"· left out: {problem.message}", highlight=False, markup=False, soft_wrap=True)

    Conduct(command="export", as_json=json).run(work, show)


def import_(
    tar: Annotated[Path, typer.Argument(help="A tar that fedcli export has written.")],
    drop: DropArgument = None,
    workspace: WorkspaceOption = Path(),
    coordinator_key: CoordinatorKeyOption = None,
    host_key: HostKeyOption = "",
    ssh_key: SshKeyOption = None,
    endpoint: EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Verify a tar together with a drop folder, then write what is new there."""

    def work(environment: Environment) -> ImportResult:
        from fedcli.exchange.keys import fingerprint_of
        from fedcli.operations.import_ import import_ as operation

        return operation(
            tar,
            absolute(drop) if drop else None,
            workspace,
            progress=environment.progress,
            coordinator=fingerprint_of(coordinator_key) if coordinator_key else None,
            options=options_of(drop, host_key, ssh_key, endpoint),
        )

    Conduct(command="import", as_json=json).run(work)


def archive(
    tar: Annotated[Path, typer.Argument(help="The tar to write, outside the drop folder; nothing is overwritten.")],
    before: Annotated[int, typer.Option(min=1, max=9999, help="The first round that can be recomputed without the tar.")],
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Move the artifacts of old rounds out of the drop folder into a tar; records stay, and verify takes the tar for the rest."""

    def work(environment: Environment) -> ArchiveResult:
        from fedcli.operations.archive import archive as operation

        return operation(workspace, tar, before, environment)

    Conduct(command="archive", as_json=json, root=workspace).run(work)

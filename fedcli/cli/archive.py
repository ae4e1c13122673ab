"""The command archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.archive import ArchiveResult

EXAMPLE = "Example: fedcli archive rounds-1-to-99.tar -C coordinator --before 100; then fedcli verify DROP --with that tar"


def archive(
    tar: Annotated[Path, typer.Argument(help="The tar to write, outside the drop folder; nothing is overwritten.")],
    before: Annotated[int, typer.Option(min=1, max=9999, help="The first round that can be recomputed without the tar.")],
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Move the artifacts of old rounds out of the drop folder into a tar; records stay, and verify takes the tar as well."""

    def work(environment: Environment) -> ArchiveResult:
        from fedcli.operations.archive import ArchiveRequest
        from fedcli.operations.archive import archive as operation

        return operation(ArchiveRequest(root=workspace, file=tar, before=before), environment)

    Invocation(command="archive", as_json=json, root=workspace).run(work)

"""The command import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import source_options
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.import_ import ImportResult

EXAMPLE = (
    "Examples: fedcli import stick/to-north.tar -C north; mkdir copy && fedcli import whole.tar copy --coordinator-key SHA256:…"
)


def import_(
    tar: Annotated[Path, typer.Argument(help="A tar that fedcli export has written.")],
    drop: source_options.DropArgument = None,
    workspace: WorkspaceOption = Path(),
    coordinator_key: source_options.CoordinatorKeyOption = None,
    host_key: source_options.HostKeyOption = "",
    ssh_key: source_options.SshKeyOption = None,
    endpoint: source_options.EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Verify a tar together with a drop folder, then write what is new there."""

    def work(environment: Environment) -> ImportResult:
        from fedcli.operations.import_ import ImportRequest
        from fedcli.operations.import_ import import_ as operation

        source = source_options.chosen_source(drop, workspace, coordinator_key, host_key, ssh_key, endpoint)
        return operation(ImportRequest(source=source, file=tar), environment)

    Invocation(command="import", as_json=json).run(work)

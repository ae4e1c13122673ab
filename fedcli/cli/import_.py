"""The command import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption
from fedcli.cli.source_options import (
    CoordinatorKeyOption,
    DropArgument,
    EndpointOption,
    HostKeyOption,
    SshKeyOption,
    chosen_source,
)

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.import_ import ImportResult

EXAMPLE = "Examples: fedcli import stick/to-north.tar -C north; fedcli import whole.tar copy --coordinator-key SHA256:…"


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
        from fedcli.operations.import_ import ImportRequest
        from fedcli.operations.import_ import import_ as operation

        source = chosen_source(drop, workspace, coordinator_key, host_key=host_key, ssh_key=ssh_key, endpoint=endpoint)
        return operation(ImportRequest(source=source, file=tar), environment)

    Invocation(command="import", as_json=json).run(work)

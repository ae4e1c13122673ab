"""The command package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import source_options
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, ModelOption, WorkspaceOption

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.package import PackageResult

EXAMPLE = "Example: fedcli package -C demo/coordinator --out package"


def package(
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    drop: source_options.DropArgument = None,
    workspace: WorkspaceOption = Path(),
    model: ModelOption = "best",
    coordinator_key: source_options.CoordinatorKeyOption = None,
    host_key: source_options.HostKeyOption = "",
    ssh_key: source_options.SshKeyOption = None,
    endpoint: source_options.EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Write a model for use elsewhere: ONNX, safetensors, what it takes and returns, its card and its signed records."""

    def work(environment: Environment) -> PackageResult:
        from fedcli.operations.package import PackageRequest
        from fedcli.operations.package import package as operation

        source = source_options.chosen_source(drop, workspace, coordinator_key, host_key, ssh_key, endpoint)
        return operation(PackageRequest(source=source, out=out, model=model), environment)

    Invocation(command="package", as_json=json).run(work)

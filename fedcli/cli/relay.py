"""The command relay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, PollOption, WaitOption, WorkspaceOption

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.relay import RelayResult

EXAMPLE = "Example: fedcli relay -C region --above region-in-the-country --wait"


def relay(
    workspace: WorkspaceOption = Path(),
    above: Annotated[
        Path | None,
        typer.Option(help="The workspace of this region's site in the federation above; default: that of workspace.toml."),
    ] = None,
    wait: WaitOption = False,
    poll: PollOption = 30.0,
    json: JsonOption = False,
) -> None:
    """Pass a region's rounds on: take the models from the federation above, and send it the mean of the sites' updates."""

    def work(environment: Environment) -> RelayResult:
        from fedcli.operations.relay import RelayRequest
        from fedcli.operations.relay import relay as operation

        return operation(RelayRequest(root=workspace, above=above), environment)

    Invocation(command="relay", as_json=json, root=workspace, wait=wait, poll=poll, quiet=True).run(work)

"""The command retrain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, TarsOption, WorkspaceOption
from fedcli.cli.training_processes import DevicesOption, run_training
from fedcli.results import Status

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.retrain import RetrainResult

EXAMPLE = "Example: fedcli retrain -C north --round 3"
NOT_REPRODUCED = 6


def retrain(
    number: Annotated[int, typer.Option("--round", min=1, help="The round whose update the site has sent.")],
    workspace: WorkspaceOption = Path(),
    devices: DevicesOption = 1,
    tars: TarsOption = None,
    json: JsonOption = False,
) -> None:
    """Train a round again, and compare with the update that was sent; nothing is published, and nothing changes.

    On the same machine, with the same versions and prepared data, the same bits come out; otherwise it says what differs.
    """

    def work(environment: Environment) -> RetrainResult:
        from fedcli.operations.retrain import RetrainRequest
        from fedcli.operations.retrain import retrain as operation

        return operation(RetrainRequest(root=workspace, round=number, devices=devices, tars=tuple(tars or ())), environment)

    def command() -> None:
        if Invocation(command="retrain", as_json=json).run(work).status is Status.FAILED:
            raise typer.Exit(NOT_REPRODUCED)

    run_training(workspace, command)

"""The command finetune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption
from fedcli.cli.training_processes import DevicesOption, run_training

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.finetune import FinetuneResult

EXAMPLE = "Example: fedcli finetune -C north --from initial"

StartOption = Annotated[
    Literal["best", "initial"],
    typer.Option("--from", help="Start from the best federated model, or from φ(0) for the local-only baseline."),
]


def finetune(
    workspace: WorkspaceOption = Path(), start: StartOption = "best", devices: DevicesOption = 1, json: JsonOption = False
) -> None:
    """Fine-tune the best federated model at this site, or train the local-only baseline."""

    def work(environment: Environment) -> FinetuneResult:
        from fedcli.operations.finetune import FinetuneRequest, Start
        from fedcli.operations.finetune import finetune as operation

        return operation(FinetuneRequest(root=workspace, start=Start(start), devices=devices), environment)

    invocation = Invocation(command="finetune", as_json=json, root=workspace, quiet=True)
    run_training(workspace, lambda: invocation.run(work))

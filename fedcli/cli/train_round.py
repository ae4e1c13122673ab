"""The command train-round."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import egress_view
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, PollOption, WaitOption, WorkspaceOption
from fedcli.cli.questions import attended
from fedcli.cli.training_processes import DevicesOption, run_training

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.train_round import TrainRoundResult

EXAMPLE = "Example: fedcli train-round -C north --wait"

ReviewOption = Annotated[
    bool,
    typer.Option(
        "--review", help='Show the update and ask before it is published; review = "ask" in workspace.toml does so always.'
    ),
]


def train_round(
    workspace: WorkspaceOption = Path(),
    review: ReviewOption = False,
    devices: DevicesOption = 1,
    wait: WaitOption = False,
    poll: PollOption = 30.0,
    json: JsonOption = False,
) -> None:
    """Do this site's part of the open round, if it is not done yet: train, and publish the update."""

    def work(environment: Environment) -> TrainRoundResult:
        from fedcli.operations.train_round import TrainRoundRequest
        from fedcli.operations.train_round import train_round as operation

        reviewer = egress_view.ask if attended() else None
        request = TrainRoundRequest(root=workspace, review=review, reviewer=reviewer, devices=devices)
        return operation(request, environment)

    invocation = Invocation(command="train-round", as_json=json, root=workspace, wait=wait, poll=poll, quiet=True)
    run_training(workspace, lambda: invocation.run(work))

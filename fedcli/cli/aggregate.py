"""The command aggregate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, PollOption, WaitOption, WorkspaceOption
from fedcli.errors import UsageError

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.aggregate.aggregate_result import AggregateResult

EXAMPLE = "Example: fedcli aggregate -C coordinator --wait"


def aggregate(
    workspace: WorkspaceOption = Path(),
    without: Annotated[
        list[str] | None, typer.Option(metavar="SITE", help="Close the round without this site; needs --reason.")
    ] = None,
    reason: Annotated[str, typer.Option(help="The reason, which the round record states.")] = "",
    below_quorum: Annotated[
        bool,
        typer.Option("--below-quorum", help="Close it without them even below the plan's quorum."),
    ] = False,
    void: Annotated[bool, typer.Option("--void", help="End a masked round that cannot be finished; needs --reason.")] = False,
    review: Annotated[bool, typer.Option("--review", help="Show every site's figures, and ask before publishing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --review: publish everything valid, without asking.")] = False,
    wait: WaitOption = False,
    poll: PollOption = 30.0,
    json: JsonOption = False,
) -> None:
    """Verify the sites' updates and publish the next global model, or say who is awaited."""

    def work(environment: Environment) -> AggregateResult:
        from fedcli.cli.review_prompt import reviewer
        from fedcli.operations.aggregate.aggregate_result import AggregateRequest
        from fedcli.operations.aggregate.coordinator_round import aggregate as operation

        if yes and not review:
            msg = "--yes goes with --review"
            raise UsageError(msg)
        if review and wait and not yes:
            msg = "--review asks a person, and --wait has none"
            raise UsageError(msg, hint="add --yes, or leave --wait out")
        if (bool(without) or void) != bool(reason) or (without and void):
            msg = "--reason goes with either --without or --void"
            raise UsageError(msg)
        request = AggregateRequest(
            root=workspace,
            without=dict.fromkeys(without or (), reason),
            below_quorum=below_quorum,
            void=reason if void else None,
            reviewer=reviewer(accept=yes) if review else None,
        )
        return operation(request, environment)

    quiet = yes or not review  # a review without a terminal prints the command that asks
    Invocation(command="aggregate", as_json=json, root=workspace, wait=wait, poll=poll, quiet=quiet).run(work)

"""The command simulate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import simulation_view
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, RoundsOption, ThreadsOption, named_paths

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.simulate import SimulateResult

EXAMPLE = "Example: fedcli simulate --plan plan.toml --site north=data/north --site valley=data/valley --drop run/drop"

SiteOption = Annotated[list[str], typer.Option(metavar="NAME=PREPARED_DIR", help="A site and its prepared data; repeatable.")]
FullOption = Annotated[
    bool, typer.Option("--full", help="Also train the local-only baselines, fine-tune, and evaluate every model at every site.")
]


def simulate(
    plan: Annotated[Path, typer.Option(help="The plan, a TOML file.")],
    site: SiteOption,
    drop: Annotated[Path, typer.Option(help="The drop folder; the workspaces are created beside it.")],
    rounds: RoundsOption = None,
    threads: ThreadsOption = 0,
    full: FullOption = False,
    json: JsonOption = False,
) -> None:
    """Run a whole federation in one process, with the same operations, through a real drop folder."""

    def work(environment: Environment) -> SimulateResult:
        from fedcli import plan as plans
        from fedcli.operations.simulate import SimulateRequest
        from fedcli.operations.simulate import simulate as operation

        whole = plans.load(plan)
        request = SimulateRequest(
            plan=replace(whole, rounds=rounds or whole.rounds),
            sites=named_paths(site, "--site"),
            drop=drop,
            threads=threads,
            full=full,
        )
        return operation(request, environment)

    Invocation(command="simulate", as_json=json).run(work, simulation_view.show)

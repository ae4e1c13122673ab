"""The command demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, RoundsOption
from fedcli.cli.simulate import show_kappas

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.demo import DemoResult

EXAMPLE = "Example: fedcli demo --out demo"


def demo(
    out: Annotated[Path, typer.Option(help="The folder for everything.")],
    rounds: RoundsOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed instead of the demo plan's.")] = None,
    json: JsonOption = False,
) -> None:
    """Watch three hospitals of phantoms train one model through a folder: it takes minutes, on any machine."""

    def work(environment: Environment) -> DemoResult:
        from fedcli.operations.demo import DemoRequest
        from fedcli.operations.demo import demo as operation

        return operation(DemoRequest(out=out, rounds=rounds, seed=seed), environment)

    Invocation(command="demo", as_json=json).run(work, show_kappas)

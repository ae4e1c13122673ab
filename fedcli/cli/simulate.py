"""The command simulate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, RoundsOption, ThreadsOption, WeightsOption, named_paths

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.demo import DemoResult
    from fedcli.operations.simulate import SimulateResult, TestKappa

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
    weights: WeightsOption = None,
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
            weights=weights,
        )
        return operation(request, environment)

    Invocation(command="simulate", as_json=json).run(work, show_kappas)


def show_kappas(out: Console, result: DemoResult | SimulateResult) -> None:
    """Print each site's own test kappas, and Table 2's means."""
    if not result.means:
        best = [(site.site, str(site.best_round), render.kappa(site.best_kappa)) for site in result.sites]
        render.print_table(out, "Best federated model by validation kappa", ("site", "round", "kappa"), best)
        return
    rows = [
        (
            site.site,
            _cell(site.local),
            _cell(site.federated),
            _cell(site.finetuned),
            str(site.federated.patients) if site.federated and site.federated.patients else "—",
        )
        for site in result.sites
    ]
    title = "Linear weighted kappa on each site's own test patients [95 % interval]"
    render.print_table(out, title, ("site", "local-only", "federated", "fine-tuned", "n"), rows)
    means = [(mean.kind.word, render.kappa(mean.diagonal), render.kappa(mean.off_diagonal)) for mean in result.means]
    render.print_table(out, "Means, as in the paper's Table 2", ("models", "own patients", "others' patients"), means)


def _cell(value: TestKappa | None) -> str:
    return "—" if value is None else render.kappa(value.kappa, value.interval)

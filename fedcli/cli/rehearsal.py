"""Commands for one machine: simulate, demo."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render
from fedcli.cli.running import Conduct, JsonOption, named_paths

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.demo import DemoResult
    from fedcli.operations.simulate import SimulateResult, TestKappa

RoundsOption = Annotated[int | None, typer.Option("--rounds", min=1, help="Rounds instead of the plan's.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    panel = "One machine"
    example = "Example: fedcli simulate --plan plan.toml --site north=data/north --site valley=data/valley --drop run/drop"
    app.command(rich_help_panel=panel, epilog=example)(simulate)
    app.command(rich_help_panel=panel, epilog="Example: fedcli demo --out demo")(demo)


def simulate(
    plan: Annotated[Path, typer.Option(help="The plan, a TOML file.")],
    site: Annotated[list[str], typer.Option(metavar="NAME=PREPARED_DIR", help="A site and its prepared data; once for each.")],
    drop: Annotated[Path, typer.Option(help="The drop folder; workspaces are made beside it.")],
    rounds: RoundsOption = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads for training; 0 takes PyTorch's default.")] = 0,
    full: Annotated[
        bool, typer.Option("--full", help="Also train the local-only baselines, fine-tune, and evaluate every model everywhere.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run a whole federation in one process, with the very same operations, through a real drop folder."""

    def work(environment: Environment) -> SimulateResult:
        from fedcli import plan as plans
        from fedcli.operations.simulate import simulate as operation

        return operation(
            plans.load(plan), named_paths(site, "--site"), drop, environment, rounds=rounds, threads=threads, full=full
        )

    Conduct(command="simulate", as_json=json).run(work, _show_outcome)


def demo(
    out: Annotated[Path, typer.Option(help="Where everything goes.")],
    rounds: RoundsOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed instead of the demo plan's.")] = None,
    json: JsonOption = False,
) -> None:
    """Watch three hospitals of phantoms train one model through a folder: minutes, on any machine."""

    def work(environment: Environment) -> DemoResult:
        from fedcli.operations.demo import demo as operation

        return operation(out, environment, rounds=rounds, seed=seed)

    Conduct(command="demo", as_json=json).run(work, _show_outcome)


def _show_outcome(out: Console, result: DemoResult | SimulateResult) -> None:
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
    if not result.means:
        found = [(site.site, str(site.best_round), render.kappa(site.best_kappa)) for site in result.sites]
        render.print_table(out, "Best federated model by validation kappa", ("site", "round", "kappa"), found)
        return
    title = "Linear weighted kappa on each site's own test patients [95 % interval]"
    render.print_table(out, title, ("site", "local-only", "federated", "fine-tuned", "n"), rows)
    means = [(mean.kind.word, render.kappa(mean.diagonal), render.kappa(mean.off_diagonal)) for mean in result.means]
    render.print_table(out, "Means, as in the paper's Table 2", ("models", "own patients", "others' patients"), means)


def _cell(value: TestKappa | None) -> str:
    return "—" if value is None else render.kappa(value.kappa, value.interval)

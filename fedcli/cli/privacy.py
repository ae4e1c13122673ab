"""The commands privacy plan and privacy spent."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli import render, source_options
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption
from fedcli.results import Status

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.privacy_plan import PrivacyPlanResult
    from fedcli.operations.privacy_spent import PrivacySpentResult
    from fedcli.reporting.tables import PatientCost

NOT_AS_CLAIMED = 6

EpsilonOption = Annotated[float, typer.Option("--epsilon", min=0.01, max=200, help="The budget of all rounds together.")]
DeltaOption = Annotated[float, typer.Option("--delta", min=1e-12, max=0.1, help="Far below 1 / patients.")]
StepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, max=100_000, help="Steps in a round, in place of epochs.", show_default=False)
]
PictureOption = Annotated[
    Path | None, typer.Option("--picture", help="Draw the table into this file, .svg or .png.", show_default=False)
]

privacy = typer.Typer(no_args_is_help=True, help="Differential privacy: what noise and rounds cost, and what was spent.")


@privacy.command(epilog="Example: fedcli privacy plan --patients 1000 --epsilon 3 --delta 1e-5 --rounds 100 --batch 32")
def plan(
    patients: Annotated[int, typer.Option(min=1, max=10_000_000, help="The site's training patients, a public number.")],
    epsilon: EpsilonOption,
    delta: DeltaOption,
    rounds: Annotated[int, typer.Option(min=1, max=9999, help="Rounds in which the site trains.")],
    batch: Annotated[int, typer.Option(min=1, max=1_000_000, help="Patients in a step, on average.")],
    epochs: Annotated[int, typer.Option(min=1, max=1000, help="Epochs in a round, each of patients / batch steps.")] = 1,
    steps: StepsOption = None,
    picture: PictureOption = None,
    json: JsonOption = False,
) -> None:
    """Propose the noise with which a site's training stays within a privacy budget, and show what other noise would cost."""

    def work(environment: Environment) -> PrivacyPlanResult:
        from fedcli.operations.privacy_plan import PrivacyPlanRequest, privacy_plan

        request = PrivacyPlanRequest(
            patients=patients,
            epsilon=epsilon,
            delta=delta,
            rounds=rounds,
            batch=batch,
            epochs=epochs,
            steps=steps,
            picture=picture,
        )
        return privacy_plan(request, environment)

    Invocation(command="privacy plan", as_json=json).run(work, _show)


@privacy.command(epilog="Example: fedcli privacy spent /mnt/study --coordinator-key SHA256:…")
def spent(
    drop: source_options.DropArgument = None,
    workspace: WorkspaceOption = Path(),
    coordinator_key: source_options.CoordinatorKeyOption = None,
    host_key: source_options.HostKeyOption = "",
    ssh_key: source_options.SshKeyOption = None,
    endpoint: source_options.EndpointOption = "",
    json: JsonOption = False,
) -> None:
    """Compute from the signed records what each site's updates have cost its patients, and compare with what the site claims."""

    def work(environment: Environment) -> PrivacySpentResult:
        from fedcli.operations.privacy_spent import PrivacySpentRequest, privacy_spent

        source = source_options.chosen_source(drop, workspace, coordinator_key, host_key, ssh_key, endpoint)
        return privacy_spent(PrivacySpentRequest(source=source), environment)

    if Invocation(command="privacy spent", as_json=json).run(work, _show_spent).status is Status.FAILED:
        raise typer.Exit(NOT_AS_CLAIMED)


def show_costs(out: Console, costs: tuple[PatientCost, ...]) -> None:
    """Print what each site has spent, as it claims and as it was recomputed; nothing where there are no costs."""
    if not costs:
        return
    counted = any(cost.rounds_left is not None for cost in costs)
    rows = []
    for cost in costs:
        again = "not computed" if cost.recomputed is None else f"{cost.recomputed:.3g}"
        row = (cost.site, f"{cost.updates}", f"{cost.patients}", f"{cost.noise:g}", f"{cost.steps}", f"{cost.claimed:.3g}", again)
        rows.append((*row, "not computed" if cost.rounds_left is None else f"{cost.rounds_left}") if counted else row)
    columns = ["site", "updates", "patients declared", "noise", "steps", "claimed by the site", "recomputed here"]
    if counted:
        columns.append("rounds left")
    render.print_table(out, f"Epsilon at delta {costs[0].delta:g} of each site's training patients", columns, rows)


def _show_spent(out: Console, result: PrivacySpentResult) -> None:
    for problem in result.problems:
        render.print_line(out, f"✗ {problem.message}", style="red")
    show_costs(out, result.sites)


def _show(out: Console, result: PrivacyPlanResult) -> None:
    rows = [
        (f"{noise:.3f}", *(f"{cost.epsilon:.3g}" for cost in costs))
        for noise, costs in groupby(result.costs, key=lambda cost: cost.noise)
    ]
    columns = ("noise", *(f"{number}" for number in sorted({cost.rounds for cost in result.costs})))
    render.print_table(out, f"Epsilon at delta {result.delta:g} after so many rounds", columns, rows)

"""The command evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.cli import render
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, PollOption, WaitOption, WorkspaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.measures import Measures, Metric
    from fedcli.operations.evaluate import EvaluateResult

EXAMPLE = "Example: fedcli evaluate -C north"


def evaluate(
    workspace: WorkspaceOption = Path(), wait: WaitOption = False, poll: PollOption = 30.0, json: JsonOption = False
) -> None:
    """Share this site's models, score every shared model on this site's test patients, and publish the scores."""

    def work(environment: Environment) -> EvaluateResult:
        from fedcli.operations.evaluate import EvaluateRequest
        from fedcli.operations.evaluate import evaluate as operation

        return operation(EvaluateRequest(root=workspace), environment)

    Invocation(command="evaluate", as_json=json, root=workspace, wait=wait, poll=poll, quiet=True).run(work, _show)


def _show(out: Console, result: EvaluateResult) -> None:
    from fedcli.measures import Metric
    from fedcli.reporting.tables.comparisons import site_comparison

    rows = [
        (
            f"{score.model.kind.word} {score.model.party}",
            str(score.model.round),
            _figure(score.by_case, Metric.KAPPA),
            _figure(score.by_case, Metric.DENSE_AUC),
        )
        for score in result.scores
    ]
    columns = ("model", "round or epoch", "linear weighted kappa", "AUC (dense vs. not dense)")
    render.print_table(out, f"On the test patients of {result.site}", columns, rows)
    for item in result.comparisons:
        comparison = site_comparison(result.site, item)
        render.print_line(out, f"{comparison.difference_sentence} {comparison.test_sentence}")


def _figure(measures: Measures, metric: Metric) -> str:
    from fedcli.disclosure.levels import absence

    estimate = measures.estimate(metric)
    return absence(measures, metric) if estimate.value is None else render.kappa(estimate.value, estimate.interval)

"""The models of a federation that ran on one machine: each site's own test kappas, and Table 2's means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.cli import render

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.operations.demo import DemoResult
    from fedcli.operations.simulate import SimulateResult, TestKappa


def show(out: Console, result: DemoResult | SimulateResult) -> None:
    """Print the kappas."""
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

"""The coordinator's review of a round on a terminal: a table of the sites, and a question."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from fedcli.cli import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.party.update_review import SiteReview, Verdict

_COLUMNS = ("site", "steps", "weight", "kappa before", "after", "norm of weights (z)", "cosine to others (z)", "age", "odd")


def reviewer(*, accept: bool) -> Callable[[int, tuple[SiteReview, ...]], Verdict]:
    """Return a reviewer that shows the sites and asks.

    Args:
        accept: Whether to publish without asking; otherwise nothing is published without a terminal.
    """

    def look(round_number: int, sites: tuple[SiteReview, ...]) -> Verdict:
        from fedcli.party.update_review import Verdict
        from fedcli.plan.norm_limits import LEAST

        _, err = render.consoles()
        if err.is_terminal or not accept:
            few = "; fewer than five sites, so no deviations (z) are counted" if len(sites) < LEAST else ""
            render.print_table(err, f"Updates of round {round_number}{few}", _COLUMNS, map(_row, sites))
        if accept:
            return Verdict(publish=True)
        if not err.is_terminal or not os.isatty(0):
            return Verdict(publish=False)
        return _ask({site.site for site in sites})

    return look


def _ask(names: set[str]) -> Verdict:
    """Ask until the answer is valid; a rejection needs a reason."""
    from fedcli.party.update_review import Verdict

    while True:
        answer = typer.prompt("Publish? yes, no, or the name of a site to reject", err=True).strip()
        if answer in {"yes", "no"}:
            return Verdict(publish=answer == "yes")
        if answer in names:
            reason = typer.prompt(f"Why is {answer} left out? The round record will state the reason", err=True).strip()
            return Verdict(publish=True, rejected=((answer, reason),))
        typer.echo(f"{answer}: expected yes, no, or one of {', '.join(sorted(names))}", err=True)


def _score(score: float | None) -> str:
    return "" if score is None else f" ({score:+.1f})"


def _row(site: SiteReview) -> tuple[str, ...]:
    return (
        site.site,
        str(site.steps),
        str(site.weight),
        render.kappa(site.received_kappa),
        render.kappa(site.trained_kappa),
        f"{site.trained_norm:.3g}{_score(site.norm_score)}",
        "—" if site.others_cosine is None else f"{site.others_cosine:.2f}{_score(site.cosine_score)}",
        f"{site.age_hours:.1f} h",
        "; ".join(site.odd) or "—",
    )

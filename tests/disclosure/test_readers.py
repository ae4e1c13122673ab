"""Whoever reads records of few patients says what is withheld: never 0, and never an error."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli.environment import Environment
from fedcli.exchange.history.best_round import best_round
from fedcli.exchange.history.global_scores import global_kappas
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.report import ReportRequest, report
from fedcli.plan import Evaluation, Part
from tests.fixtures.command import run
from tests.fixtures.federation import PLAN, Federation, prepared_data

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Two sites with fewer than ten patients in every part, under a new plan's default; all rounds are done and evaluated."""
    folder = tmp_path_factory.mktemp("small")
    plan = replace(PLAN, evaluation=Evaluation(), allow_empty=(Part.VALIDATION, Part.TEST))
    federation = Federation(folder, prepared_data(folder, plan, patients=16), plan=plan).begin()
    federation.run(plan.rounds)
    for _ in range(2):
        for site in federation.prepared:
            evaluate(EvaluateRequest(root=federation.site(site)), federation.environment)
    return federation


def test_the_report_says_what_is_withheld(small: Federation, tmp_path: Path) -> None:
    written = report(ReportRequest(source=small.source(), out=tmp_path / "report"), Environment())
    assert written.verified
    page, card = ((tmp_path / "report" / name).read_text(encoding="utf-8") for name in ("report.html", "model-card.md"))
    assert "withheld (n &lt; 10)" in page
    assert "Validation kappa by the round that produced the model: no site has published any yet." in page
    assert "No site publishes a validation kappa of a global model" in page
    assert "withheld (n < 10)" in card.replace("\\", "").replace("&lt;", "<")
    rows = (tmp_path / "report/tables/fig3-classes.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert rows
    assert all(row.endswith(",,") for row in rows)


def test_nobody_scores_so_the_newest_model_counts(small: Federation) -> None:
    history = small.history()
    assert set(global_kappas(history)) == {None}
    assert best_round(history).round == PLAN.rounds


def test_the_commands_show_no_zero(small: Federation) -> None:
    shown = run("evaluate", "-C", small.site("north"))
    assert shown.returncode == 0, shown.stderr
    status = run("status", "--json", small.drop)
    assert status.returncode == 0, status.stderr
    assert [site["last_kappa"] for site in json.loads(status.stdout)["sites"]] == [None, None]
    assert "too few of them to publish one" in " ".join(run("status", small.drop).stdout.split())
    assert run("verify", small.drop, "--replay", "--coordinator-key", small.fingerprint).returncode == 0

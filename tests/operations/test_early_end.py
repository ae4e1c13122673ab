"""The coordinator ends a federation before its last round, with a signed reason."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.environment import Environment
from fedcli.errors import ApprovalError
from fedcli.exchange import layout
from fedcli.exchange.records import FederationRecord
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.finetune import FinetuneRequest, Start, finetune
from fedcli.operations.report import ReportRequest, report
from fedcli.plan import Aggregation, Finetuning
from fedcli.results import Status
from tests.fixtures.command import run, succeed
from tests.fixtures.federation import PLAN, Federation, begun_by_hand

if TYPE_CHECKING:
    from pathlib import Path

REASON = "valley has no radiologist any more"


def end(federation: Federation) -> str:
    """End the federation as its coordinator does, and return what the command says."""
    return str(succeed("amend", "-C", federation.coordinator, "--finish", "--reason", REASON, "--yes")["message"])


def test_the_newest_round_is_the_last_and_the_sites_evaluate_without_another_approval(
    tmp_path: Path, prepared: dict[str, Path]
) -> None:
    plan = replace(PLAN, rounds=9, aggregation=Aggregation(quorum=1, deadline_hours=1), finetuning=Finetuning(epochs=1))
    federation = Federation(root=tmp_path / "f", prepared=prepared, plan=plan).begin()
    federation.run(1)
    message = end(federation)
    assert "its last round is 1, which no site needs to approve" in message
    record = wire.decode(FederationRecord, (federation.drop / layout.federation(3)).read_bytes())
    assert (record.plan.rounds, record.reason, record.from_round) == (1, REASON, 2)
    ended = f"The coordinator has ended the federation after round 1 of 9: {REASON}"
    federation.clock.pass_hours(2)
    for site in prepared:
        (result,) = federation.train(site)
        assert (result.status, result.rounds) == (Status.FINISHED, 1)
        assert result.message.startswith(ended)
        baseline = finetune(FinetuneRequest(root=federation.site(site), start=Start.INITIAL), federation.environment)
        assert baseline.epochs == 1
        evaluate(EvaluateRequest(root=federation.site(site)), federation.environment)
    status = federation.status()
    assert (status.status, status.open_round, status.deadline, status.overdue) == (Status.FINISHED, None, None, False)
    assert status.message.startswith(ended)
    assert federation.aggregate().status is Status.FINISHED
    assert federation.verify().verified
    report(ReportRequest(source=federation.source(), out=tmp_path / "r"), Environment())
    for name in ("report.html", "model-card.md"):
        assert ended in (tmp_path / "r" / name).read_text(encoding="utf-8")


def test_an_open_round_with_updates_is_the_last(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", rounds=9)
    federation.run(1)
    federation.send("a", 2)
    assert "its last round is 2" in end(federation)
    assert federation.status().awaited == ("b",)
    federation.send("b", 2)
    assert federation.aggregate().used == ("a", "b")
    assert federation.aggregate().status is Status.FINISHED
    assert federation.verify().verified


def test_it_is_taken_up_again_by_more_rounds_which_are_approved(begun: Federation) -> None:
    begun.train()
    begun.aggregate()
    end(begun)
    longer = replace(begun.plan, rounds=3)
    begun.amend(longer)
    assert not begun.status().message.startswith("The coordinator has ended")
    with pytest.raises(ApprovalError, match="the plan is now"):
        begun.train("north")
    begun.amend(begun.plan)  # what the sites have approved
    assert begun.train("north")[0].round == 2


def test_what_cannot_be_ended_is_said(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b")
    done = run("amend", "-C", federation.coordinator, "--finish", "--reason", REASON)
    assert (done.returncode, "no round is done" in done.stderr) == (2, True)
    for arguments in (["--finish"], ["--plan", "p.toml", "--finish", "--reason", "x"], []):
        done = run("amend", "-C", federation.coordinator, *arguments)
        assert (done.returncode, "either --plan FILE, or --finish with --reason TEXT" in done.stderr) == (2, True)

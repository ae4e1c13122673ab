"""`fedcli restart`: the next round has the model of an earlier one again, and everybody goes on from it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import wire
from fedcli.environment import Environment
from fedcli.errors import ApprovalError, TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.history.best_round import best_round
from fedcli.exchange.history.lineage import lineage, rounds_with
from fedcli.exchange.records import ModelKind, Role, ValidationScore
from fedcli.operations.archive import ArchiveRequest, archive
from fedcli.operations.evaluate import EvaluateRequest, share
from fedcli.operations.export import ExportRequest, export
from fedcli.operations.finetune import FinetuneRequest, finetune
from fedcli.operations.import_ import ImportRequest, import_
from fedcli.operations.report import ReportRequest, report
from fedcli.operations.restart import RestartRequest, RestartResult, restart
from fedcli.party.source import Source
from fedcli.plan import Aggregation, Limits, OptimizerState, Rule
from fedcli.reporting.tables import choose
from fedcli.results import Status
from fedcli.site import selection
from fedcli.workspace import Workspace
from tests.fixtures.command import run, succeed
from tests.fixtures.federation import PLAN, Federation, begun_by_hand
from tests.fixtures.tampering import flip, rewrite

if TYPE_CHECKING:
    from pathlib import Path

REASON = "valley's labels were shifted by one row"


def go_back(federation: Federation, number: int, reason: str = REASON, **values: tuple[Path, ...]) -> RestartResult:
    request = RestartRequest(root=federation.coordinator, number=number, reason=reason, **values)
    return restart(request, federation.environment)


def three_rounds(root: Path, **settings: object) -> Federation:
    """Return a federation of two sites with three of eight rounds."""
    federation = begun_by_hand(root, "a", "b", **({"rounds": 8} | settings))
    federation.run(3)
    return federation


def same(federation: Federation, number: int, other: int) -> bool:
    one, two = federation.model(number), federation.model(other)
    return all((one[name] == two[name]).all() for name in one)


def test_the_next_round_has_the_earlier_model_again_and_the_sites_go_on(tmp_path: Path) -> None:
    federation = three_rounds(tmp_path / "f")
    result = go_back(federation, 1)
    record = federation.record(4)
    assert (result.status, result.round, result.restarted_from) == (Status.PUBLISHED, 4, 1)
    assert (record.restart.round, record.restart.reason, record.contributions) == (1, REASON, ())
    assert same(federation, 4, 1)
    assert not same(federation, 4, 3)
    assert record.artifacts[0].key.startswith("coordinator/round-0004/")
    federation.run(1)
    step = {name: value - federation.model(4)[name] for name, value in federation.model(5).items()}
    assert any(np.abs(value).max() > 0 for value in step.values())
    verified = federation.verify()
    assert (verified.verified, verified.replayed, verified.problems, verified.unaccounted) == (True, 5, (), ())


def test_open_updates_are_discarded_with_the_reason_and_whoever_sent_nothing_is_absent(tmp_path: Path) -> None:
    federation = three_rounds(tmp_path / "f")
    federation.send("a", 4)
    result = go_back(federation, 0)
    record = federation.record(4)
    update = (federation.drop / layout.update("a", 4)).read_bytes()
    assert [(item.site, item.update, item.reason) for item in record.rejected] == [("a", wire.sha256(update), REASON)]
    assert record.absent == ("b",)
    assert "the updates of a for it are discarded" in result.message
    federation.send("b", 4)  # too late; named once, and never used
    federation.run(1)
    assert [(item.site, item.round) for item in federation.record(5).late] == [("b", 4)]
    assert federation.verify().verified


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    federation = three_rounds(tmp_path / "f")
    go_back(federation, 1)
    before = federation.files()
    again = go_back(federation, 1)
    assert (again.status, again.round) == (Status.DONE, 4)
    assert federation.files() == before


@pytest.mark.parametrize(
    ("number", "reason", "message"),
    [(4, REASON, "expected 0 to 3"), (1, " ", "expected a text"), (1, "x" * 2001, "at most 2000 characters")],
)
def test_there_must_be_such_a_round_and_a_reason(tmp_path: Path, number: int, reason: str, message: str) -> None:
    federation = three_rounds(tmp_path / "f")
    with pytest.raises(UsageError, match=message):
        go_back(federation, number, reason)


def test_a_restart_is_a_round_of_the_plan_and_amend_adds_rounds(tmp_path: Path) -> None:
    federation = three_rounds(tmp_path / "f", rounds=3)
    with pytest.raises(UsageError, match="all rounds of the plan are done") as error:
        go_back(federation, 1)
    assert "amend" in error.value.hint
    federation.amend(replace(federation.plan, rounds=4))
    assert "it is the last round" in go_back(federation, 1).message
    assert federation.verify().verified
    assert federation.history().finished


def test_a_model_that_overflows_is_left_behind(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", rounds=8, limits=Limits(norm=0.0))
    federation.run(1)
    huge = {name: np.full_like(value, 3e38 if value.dtype == np.float32 else 0) for name, value in federation.model(0).items()}
    for number in (2, 3):
        for site in ("a", "b"):
            federation.send(site, number, delta=huge)
        if number == 2:
            federation.aggregate()
    refused = federation.aggregate()
    assert [(item.site, "out of its range" in item.reason) for item in refused.rejected] == [("a", True), ("b", True)]
    assert refused.message.endswith(f"`fedcli restart -C {federation.coordinator} --from ROUND --reason TEXT`")
    go_back(federation, 1)
    federation.run(1)
    assert same(federation, 3, 1)
    assert federation.verify().verified


@pytest.mark.parametrize("rule", [Rule.MOMENTUM, Rule.YOGI, Rule.AVERAGED])
def test_the_servers_state_goes_back_too(tmp_path: Path, rule: Rule) -> None:
    federation = three_rounds(tmp_path / "f", aggregation=Aggregation(rule=rule))
    go_back(federation, 1)
    earlier, record = federation.record(1), federation.record(4)
    assert [item.role for item in record.artifacts] == [Role.MODEL, Role.SERVER_STATE]
    assert [item.content_sha256 for item in record.artifacts] == [item.content_sha256 for item in earlier.artifacts]
    federation.run(1)
    go_back(federation, 0)  # which has no state: the next round begins a new one
    federation.run(1)
    assert federation.record(6).rule is Rule.MEAN
    assert federation.verify().replayed == 7


def test_a_restart_from_another_rule_keeps_that_rules_state(tmp_path: Path) -> None:
    federation = three_rounds(tmp_path / "f", aggregation=Aggregation(rule=Rule.MOMENTUM))
    federation.amend(replace(federation.plan, aggregation=Aggregation(rule=Rule.MEDIAN)))
    assert go_back(federation, 2).status is Status.PUBLISHED
    assert federation.record(4).rule is Rule.MOMENTUM
    assert federation.verify().verified


# ----------------------------------------------------------------------------------------------------- what the ledger refuses


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"restart": {"round": 4, "reason": "x"}}, "which is not before it"),
        ({"restart": {"round": 9, "reason": "x"}}, "which is not before it"),
        ({"restart": {"round": 2, "reason": "x"}}, "model of round 2: expected"),
        ({"restart": {"round": 1, "reason": ""}}, "restart.reason"),
        ({"restart": {"round": 1, "reason": "x\u202e"}}, "restart.reason"),
        ({"rule": "median"}, "rule: expected mean, found median"),
        ({"restart": None}, "at least one contribution, or is a restart"),
        ({"absent": ["a"]}, "sites named"),
    ],
)
def test_a_restart_that_is_not_what_it_says_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    federation = three_rounds(tmp_path / "f")
    go_back(federation, 1)
    rewrite(federation, layout.round_record(4), **change)
    (problem,) = federation.verify(replay=False).problems[:1]
    assert message in problem.message


def test_a_restart_with_contributions_is_refused(tmp_path: Path) -> None:
    federation = three_rounds(tmp_path / "f")
    contributions = json.loads((federation.drop / layout.round_record(3)).read_bytes())["contributions"]
    go_back(federation, 1)
    rewrite(federation, layout.round_record(4), contributions=contributions, absent=[])
    assert "is a restart, but has contributions" in federation.verify(replay=False).problems[0].message


def test_verify_names_a_changed_model_of_a_restart(tmp_path: Path) -> None:
    federation = three_rounds(tmp_path / "f")
    go_back(federation, 1)
    key = federation.record(4).artifacts[0].key
    flip(federation.drop / key)
    assert {problem.key for problem in federation.verify().problems} == {key}


# ------------------------------------------------------------------------------------------------------------ other commands


def test_the_command_asks_and_prints_one_object(tmp_path: Path) -> None:
    federation = three_rounds(tmp_path / "f")
    words = ("restart", "-C", federation.coordinator, "--from", "1", "--reason", REASON)
    refused = run(*words)
    assert (refused.returncode, "--yes restarts without asking" in refused.stderr) == (ApprovalError.exit_code, True)
    result = succeed(*words, "--yes")
    assert list(result) == [
        "command", "status", "message", "round", "rounds", "restarted_from", "absent", "discarded", "global_model",
    ]  # fmt: skip
    assert (result["status"], result["round"], result["absent"]) == ("published", 4, ["a", "b"])
    assert "round 4 has the model of round 1 again" in run("status", "-C", federation.coordinator).stdout


def test_status_and_report_show_it(tmp_path: Path) -> None:
    federation = three_rounds(tmp_path / "f")
    go_back(federation, 1)
    shown = federation.status("coordinator")
    assert (shown.matrix[-2].restart.round, shown.history[4].restart.reason) == (1, REASON)
    assert shown.open_round == 5
    report(ReportRequest(source=federation.source(), out=tmp_path / "report"), Environment())
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Round 4 has the model of round 1 again: valley" in page
    assert "restart from round 1" in (tmp_path / "report" / "tables" / "participation.csv").read_text(encoding="utf-8")


def test_only_rounds_that_led_to_the_newest_model_are_chosen_and_counted(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", rounds=8)
    federation.run(2)
    for site in ("a", "b"):
        federation.send(site, 3, received=ValidationScore(patients=20, loss=1.0, kappa=0.9))
    federation.aggregate()
    assert best_round(federation.history()).round == 2
    go_back(federation, 1)
    federation.run(1)
    history = federation.history()
    assert best_round(history).round == 1  # not φ(0), which nobody has trained
    assert lineage(history.rounds, 5) == (0, 1, 4, 5)
    for site in ("a", "b"):
        federation.send(site, 6, received=ValidationScore(patients=20, loss=1.0, kappa=0.95))
    best = choose(federation.history(), "best", ())
    assert (best.last_round, best.trained_on) == (5, (("a", 2), ("b", 2)))  # in rounds 1 and 5
    assert rounds_with(history.rounds, "a") == (1, 2, 3, 4, 5)


def test_an_exported_history_is_imported_and_an_archived_model_is_read_from_its_tar(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", rounds=8)
    federation.run(2)
    for site in ("a", "b"):  # the best model, which an archive leaves in the folder, is that of round 2
        federation.send(site, 3, received=ValidationScore(patients=20, loss=1.0, kappa=0.9))
    federation.aggregate()
    archive(ArchiveRequest(root=federation.coordinator, file=tmp_path / "old.tar", before=3), federation.environment)
    with pytest.raises(TrustError, match="missing") as error:
        go_back(federation, 1)
    assert "--with TAR" in error.value.hint
    go_back(federation, 1, tars=(tmp_path / "old.tar",))
    federation.run(1)
    verified = federation.verify()
    assert (verified.verified, verified.replayable_from) == (True, 3)
    assert federation.verify(tars=(tmp_path / "old.tar",)).replayed == 5
    export(ExportRequest(source=federation.source(), file=tmp_path / "all.tar"), federation.environment)
    other = Source(address=str(tmp_path / "other"), coordinator=federation.fingerprint)
    (tmp_path / "other").mkdir()
    assert import_(ImportRequest(source=other, file=tmp_path / "all.tar"), federation.environment).round == 5


# ----------------------------------------------------------------------------------------------------------------- at the sites


def test_a_site_trains_on_from_it_and_drops_what_started_from_a_round_given_up(tmp_path: Path, prepared: dict[str, Path]) -> None:
    plan = replace(PLAN, rounds=6, training=replace(PLAN.training, optimizer_state=OptimizerState.KEEP))
    federation = Federation(root=tmp_path / "f", prepared=prepared, plan=plan).begin()
    federation.run(2)
    federation.train()
    north = federation.site("north")
    given_up = selection.read_best(selection.newest_state(Workspace.open(north))).base != federation.history().rounds[0].digest
    go_back(federation, 0)
    if given_up:
        with pytest.raises(UsageError, match="a restart has given up"):
            finetune(FinetuneRequest(root=north), federation.environment)
        assert ModelKind.FEDERATED not in share(EvaluateRequest(root=north), federation.environment)
    first = federation.train("north")[0]
    assert (first.status, first.round) == (Status.PUBLISHED, 4)
    best = selection.read_best(selection.newest_state(Workspace.open(federation.site("north"))))
    history = federation.history()
    assert best.base in {history.rounds[number].digest for number in (0, 3)}
    federation.train("valley")
    federation.aggregate()
    assert federation.verify().verified

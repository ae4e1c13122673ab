"""A history that was forked by its coordinator, or cut off by the store's host: one honest record of the other branch tells."""

from __future__ import annotations

import json
import shutil
from functools import partial
from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.exchange import layout
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.party.history.records_read import Reading
from fedcli.results import Status
from tests.fixtures.federation import SITES, begun_by_hand
from tests.fixtures.tampering import rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.federation import Federation

EVALUATION = layout.evaluation("north", 1)


def problems(federation: Federation) -> dict[str, str]:
    """Return what an auditor finds, by file."""
    result = federation.verify(replay=False)
    assert result.status is (Status.FAILED if result.problems else Status.VERIFIED)
    return {problem.key: problem.message for problem in result.problems}


def cut(federation: Federation, number: int) -> None:
    """Remove the round records from one on."""
    for path in federation.drop.glob("coordinator/round-*"):
        if path.name >= f"round-{number:04d}":
            shutil.rmtree(path)


def digest_of(federation: Federation, number: int) -> str:
    return wire.sha256((federation.drop / layout.round_record(number)).read_bytes())


def test_a_site_names_the_newest_round_that_it_has_verified(finished: Federation) -> None:
    evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    for key, number in (
        (layout.update("north", 2), 1),
        (layout.dataset("north", 1), 0),
        (layout.model("north", 1, "federated"), 2),
        (EVALUATION, 2),
    ):
        seen = json.loads((finished.drop / key).read_bytes())["seen"]
        assert seen == {"round": number, "sha256": digest_of(finished, number)}
    assert problems(finished) == {}


def test_a_cut_off_end_is_told_by_one_record_of_a_site(finished: Federation) -> None:
    evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    digest = digest_of(finished, 2)[:12]
    cut(finished, 2)
    shutil.rmtree(finished.drop / "sites/valley")
    told = problems(finished)[EVALUATION]
    assert told == (
        f"{EVALUATION}: north has signed that it verified round 2, {digest}; here the newest round is 1: "
        "evidence that the end of the history is missing"
    )


def test_a_cut_off_end_is_told_by_an_update(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", *SITES)
    federation.run(3)
    cut(federation, 1)
    shutil.rmtree(federation.drop / "sites/valley")
    key = layout.update("north", 3)
    assert "north has signed that it verified round 2" in problems(federation)[key]
    assert "the end of the history is missing" in problems(federation)[key]


@pytest.mark.parametrize("kind", ["update", "evaluation"])
def test_a_fork_is_told_by_one_record_of_the_other_branch(trained: Federation, tmp_path: Path, kind: str) -> None:
    other = trained.copy(tmp_path / "other")
    trained.aggregate()
    other.aggregate(valley="absent on the other branch")
    if kind == "update":
        other.train("north")
        key = layout.update("north", 2)
    else:
        other.train("north")
        evaluate(EvaluateRequest(root=other.site("north")), other.environment)
        key = EVALUATION
    digests = [digest_of(each, 1)[:12] for each in (other, trained)]
    assert problems(trained) == {}
    for path in (other.drop / key).parent.iterdir():
        (trained.drop / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, (trained.drop / key).parent)
    told = f"{key}: north has signed that it verified round 1, {digests[0]}; here round 1 is {digests[1]}: evidence of a fork"
    assert problems(trained)[key] == told
    assert told in {problem.message for problem in trained.status().problems}


def test_a_round_that_is_closed_while_somebody_reads_is_no_alarm(finished: Federation) -> None:
    """A reader has taken the rounds before the last one was published, and the sites' records after it."""
    evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    folder = finished.source().folder(finished.root / "scratch")
    last = finished.drop / layout.round_record(2)
    data = last.read_bytes()
    last.unlink()
    folder.synchronise()
    last.write_bytes(data)
    reading = Reading(folder=folder)
    assert list(reading.attempt(EVALUATION, partial(folder.ledger.evaluation, "north", 1))) == []
    assert reading.problems == []


def test_a_site_that_lies_about_it_costs_only_itself(finished: Federation, tmp_path: Path) -> None:
    lie = {"round": 2, "sha256": "0" * 64}
    for site in SITES:
        evaluate(EvaluateRequest(root=finished.site(site)), finished.environment)
    rewrite(finished, layout.evaluation("valley", 1), seen=lie)
    rewrite(finished, layout.model("valley", 1, "federated"), seen=lie)
    assert problems(finished).keys() == {layout.evaluation("valley", 1), layout.model("valley", 1, "federated")}
    assert finished.status().problems[0].message.startswith("sites/valley/models/0001-federated.json: valley has signed")
    result = evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    assert {score.model.party for score in result.scores} == {"north", "coordinator"}


def test_a_data_set_record_that_lies_about_it_stops_no_round(trained: Federation) -> None:
    key = layout.dataset("valley", 1)
    rewrite(trained, key, seen={"round": 0, "sha256": "0" * 64})
    rewrite(trained, layout.update("valley", 1), dataset=wire.sha256((trained.drop / key).read_bytes()))
    result = trained.aggregate()
    assert "north" in result.used
    assert (trained.aggregate(valley="lies") if result.status is Status.WAITING else result).status is Status.PUBLISHED
    assert problems(trained).keys() == {key}


def test_an_update_that_lies_about_it_is_rejected_by_name_and_stops_nobody(trained: Federation) -> None:
    rewrite(trained, layout.update("valley", 1), seen={"round": 0, "sha256": "0" * 64})
    (rejected,) = trained.aggregate().rejected
    assert rejected.site == "valley"
    assert "newest round seen: expected round 0, " in rejected.reason
    assert "found round 0, 000000000000" in rejected.reason
    assert trained.aggregate(valley="contradicts itself").used == ("north",)

"""A round, as the sites and the coordinator go through it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import disk, tensors, wire
from fedcli.errors import ApprovalError, DataError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.records import FederationRecord
from fedcli.operations import join
from fedcli.operations.approve import ApproveRequest, approve, inspect
from fedcli.operations.join import JoinRequest
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.private_files import BusyError, locked
from fedcli.results import Status
from tests.fixtures.federation import SITES
from tests.fixtures.interruption import Unplugged
from tests.fixtures.tampering import artifact_path, forge

if TYPE_CHECKING:
    from tests.fixtures.federation import Federation


def test_two_rounds_are_algorithm_1_done_by_hand(finished: Federation) -> None:
    for number in (1, 2):
        before, after = finished.model(number - 1), finished.model(number)
        steps = {site: np.float64(finished.update(site, number).steps) for site in SITES}
        deltas = {site: tensors.read(artifact_path(finished, layout.update(site, number))) for site in SITES}
        for name, value in before.items():
            weighted = np.zeros(value.shape, np.float64)
            for site in sorted(SITES):
                weighted = weighted + steps[site] * deltas[site][name].astype(np.float64)
            expected = (value.astype(np.float64) + weighted / sum(steps.values())).astype(np.float32)
            assert after[name].tobytes() == expected.tobytes(), name


def test_the_round_record_names_everybody_and_everything(finished: Federation) -> None:
    record = finished.record(1)
    assert [item.site for item in record.contributions] == ["north", "valley"]
    assert (record.absent, record.rejected, record.late, record.deadline) == ((), (), (), None)
    for item in record.contributions:
        assert item.update == wire.sha256((finished.drop / layout.update(item.site, 1)).read_bytes())
        assert item.steps == item.weight == -(-item.images // finished.plan.training.batch_size)


def test_running_again_changes_nothing(finished: Federation) -> None:
    before = finished.files()
    assert [result.status for result in finished.train()] == [Status.FINISHED, Status.FINISHED]
    assert finished.aggregate().status is Status.FINISHED
    assert finished.files() == before


def test_a_second_run_in_the_same_round_waits(trained: Federation) -> None:
    before = trained.files()
    assert [result.status for result in trained.train()] == [Status.WAITING, Status.WAITING]
    assert trained.files() == before


def test_the_coordinator_waits_for_all(begun: Federation) -> None:
    begun.train("north")
    result = begun.aggregate()
    assert (result.status, result.used, result.absent) == (Status.WAITING, ("north",), ("valley",))
    assert not list(begun.drop.glob("coordinator/round-0001/*"))


def test_a_round_can_be_closed_without_a_site_with_a_reason(begun: Federation) -> None:
    begun.train("north")
    result = begun.aggregate(valley="scanner replaced")
    assert result.status is Status.PUBLISHED
    assert [(item.site, item.reason) for item in result.excused] == [("valley", "scanner replaced")]
    assert (result.absent, result.rejected) == ((), ())
    assert [outcome.round for outcome in begun.train("valley")] == [2]


def test_nobody_can_be_left_out_who_is_no_member(begun: Federation) -> None:
    begun.train("north")
    with pytest.raises(UsageError, match="nobody cannot be left out, expected one of north, valley"):
        begun.aggregate(nobody="x")


def test_same_bits_on_the_same_machine(trained: Federation, begun: Federation) -> None:
    begun.train()
    for site in SITES:
        assert trained.update(site, 1).artifacts == begun.update(site, 1).artifacts


def test_the_best_model_is_kept_with_its_round_and_kappa(finished: Federation) -> None:
    states = sorted(path.name for path in finished.site("north").glob("state/*"))
    assert states == ["round-0003"]
    facts = json.loads((finished.site("north") / "state/round-0003/best.json").read_text())
    candidates = {}
    for number in (1, 2):
        record = finished.update("north", number)
        candidates[number - 1, "received"] = record.received.kappa
        candidates[number, "trained"] = record.trained.kappa
    best = max(value for value in candidates.values() if value is not None)
    assert facts["kappa"] >= best
    measured = disk.measure(finished.site("north") / "state/round-0003/best.safetensors")
    assert facts["content_sha256"] == measured.sha256


def test_an_unknown_applicant_waits(begun: Federation) -> None:
    request = JoinRequest(root=begun.site("harbour"), site="harbour", invitation=join.inspect(begun.source()))
    join.join(request, begun.environment)
    result = begun.train("harbour")[0]
    assert result.status is Status.WAITING
    assert "`fedcli admit -C WORKSPACE harbour`" in result.message


def test_a_lost_outbox_is_adopted_and_nothing_is_trained_twice(trained: Federation) -> None:
    before = trained.files()
    shutil.rmtree(trained.site("north") / "outbox")
    shutil.rmtree(trained.site("north") / "state")
    result = trained.train("north")[0]
    assert (result.status, result.steps) == (Status.WAITING, None)
    assert trained.files() == before


def test_a_second_machine_adopts_and_goes_on(trained: Federation) -> None:
    first, second = trained.site("north"), trained.site("north-two")
    second.mkdir()
    for name in ("workspace.toml", "key", "key.pub", "approval.json"):
        shutil.copy(first / name, second / name)
    shutil.copytree(first / "encryption", second / "encryption")
    before = trained.files()
    assert trained.train("north-two")[0].status is Status.WAITING
    assert trained.files() == before
    trained.aggregate()
    assert trained.train("north-two")[0].status is Status.PUBLISHED
    assert trained.train("north")[0].status is Status.WAITING


def test_an_interrupted_publication_is_finished_and_not_trained_again(begun: Federation) -> None:
    with pytest.raises(KeyboardInterrupt, match="dataset"):
        train_round(TrainRoundRequest(root=begun.site("north")), replace(begun.environment, progress=Unplugged()))
    assert not (begun.drop / layout.update("north", 1)).exists()
    assert not (begun.site("north") / "state").exists()
    result = begun.train("north")[0]
    assert (result.status, result.steps) == (Status.PUBLISHED, None)
    assert (begun.drop / layout.update("north", 1)).exists()
    assert [path.name for path in begun.site("north").glob("state/*")] == ["round-0001"]
    assert not list(begun.site("north").glob("outbox/*"))


def test_of_two_machines_at_once_the_slower_adopts(begun: Federation) -> None:
    with pytest.raises(KeyboardInterrupt, match="dataset"):
        train_round(TrainRoundRequest(root=begun.site("north")), replace(begun.environment, progress=Unplugged()))
    shutil.copytree(begun.site("north"), begun.site("north-two"), ignore=shutil.ignore_patterns("outbox"))
    begun.clock.pass_hours(1)
    assert begun.train("north-two")[0].status is Status.PUBLISHED
    before = (begun.drop / layout.update("north", 1)).read_bytes()
    assert begun.train("north")[0].status is Status.WAITING
    assert (begun.drop / layout.update("north", 1)).read_bytes() == before
    assert not list(begun.site("north").glob("outbox/*"))


def test_a_changed_plan_stops_training_until_it_is_approved(begun: Federation) -> None:
    path = begun.drop / layout.federation(2)
    newest = wire.decode(FederationRecord, path.read_bytes())
    plan = wire.plain(newest.plan)
    plan["training"]["rate"] = 5e-4
    plan["confidentiality"] = {"sealing": False}
    record = wire.plain(newest) | {"number": 3, "previous": wire.sha256(path.read_bytes()), "plan": plan}
    forge(begun, layout.federation(3), wire.encode(wire.decode_mapping(FederationRecord, record)))
    with pytest.raises(ApprovalError, match="the plan is now") as caught:
        begun.train("north")
    assert "fedcli approve" in caught.value.hint
    proposal = inspect(begun.site("north"), begun.environment)
    assert [(item.setting, item.before, item.after) for item in proposal.changes] == [("training.rate", "0.001", "0.0005")]
    approve(ApproveRequest(root=begun.site("north"), digest=proposal.digest), begun.environment)
    assert begun.train("north")[0].status is Status.PUBLISHED


def test_data_prepared_by_another_plan_are_refused(begun: Federation) -> None:
    path = begun.site("north") / "own"
    shutil.copytree(begun.prepared["north"], path)
    description = path / "dataset.json"
    description.write_text(description.read_text().replace(wire.digest(begun.plan.preparation), "0" * 64))
    settings = begun.site("north") / "workspace.toml"
    settings.write_text(settings.read_text().replace(str(begun.prepared["north"]), str(path)))
    with pytest.raises(DataError, match="prepared with settings other than the plan"):
        begun.train("north")


def test_the_second_of_two_runs_at_once_is_busy(begun: Federation) -> None:
    with locked(begun.site("north")), pytest.raises(BusyError, match="another fedcli command is running"):
        begun.train("north")

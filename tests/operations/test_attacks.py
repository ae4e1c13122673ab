"""What parties and auditors do with a drop folder whose history somebody has forged, forked, cut off or bent."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import tensors
from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.records import ModelKind, Role
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.source import Source
from fedcli.results import Status
from tests.fixtures.federation import Federation
from tests.fixtures.tampering import artifact_path, first_float, flip, rewrite, swap

if TYPE_CHECKING:
    from pathlib import Path


# ------------------------------------------------------------------------------------------------- numbers and digests


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_site_whose_update_is_not_finite_is_rejected_and_named(trained: Federation, value: float) -> None:
    key = layout.update("valley", 1)
    delta = tensors.read(artifact_path(trained, key))
    delta[first_float(delta)].reshape(-1)[0] = value
    swap(trained, key, Role.UPDATE, delta)
    result = trained.aggregate()
    assert result.status is Status.WAITING
    assert [(item.site, item.reason) for item in result.rejected] == [
        ("valley", f"the update of valley holds NaN or infinity in tensor {first_float(delta)}")
    ]
    assert trained.aggregate(valley="broken GPU").status is Status.PUBLISHED


def test_a_tampered_artifact_is_rejected_in_the_pass_that_folds_it(trained: Federation) -> None:
    path = artifact_path(trained, layout.update("valley", 1))
    flip(path)
    result = trained.aggregate()
    assert result.status is Status.WAITING
    assert f"{path.name} of valley: SHA-256" in result.rejected[0].reason


def test_no_bit_can_change_unnoticed(finished: Federation) -> None:
    """One byte of every file in turn: verification fails and names the file."""
    generator = np.random.default_rng(0)
    paths = sorted(path for path in finished.drop.rglob("*") if path.is_file())
    kinds = {path.suffix for path in paths}
    assert kinds == {".json", ".sig", ".safetensors"}
    for path in paths:
        data = path.read_bytes()
        changed = bytearray(data)
        changed[generator.integers(len(data))] ^= 1 << int(generator.integers(8))
        path.write_bytes(changed)
        result = finished.verify(replay=False)
        assert not result.consistent, path
        name = path.relative_to(finished.drop).as_posix()
        record = name.split(".json")[0]
        assert any(record in problem.message for problem in result.problems), (name, result.problems)
        path.write_bytes(data)
    assert finished.verify().verified


# ------------------------------------------------------------------------------------------------------- other histories


def test_a_rolled_back_folder_is_refused_by_who_has_seen_more(finished: Federation) -> None:
    shutil.rmtree(finished.drop / "coordinator/round-0002")
    with pytest.raises(TrustError, match=r"round-0002/round\.json: gone from the drop folder"):
        finished.train("north")


def test_two_signed_records_for_one_place_are_equivocation(finished: Federation) -> None:
    rewrite(finished, layout.round_record(2), created="2026-11-24T09:00:00Z")
    with pytest.raises(TrustError, match="equivocation: the coordinator has signed"):
        finished.train("north")


def test_a_forged_folder_is_caught_by_the_coordinators_key(begun: Federation, tmp_path: Path) -> None:
    other = Federation(root=tmp_path / "other").begin()
    shutil.rmtree(begun.drop)
    shutil.copytree(other.drop, begun.drop)
    consistent = verify(VerifyRequest(source=Source(address=str(begun.drop))), begun.environment)[0]
    assert (consistent.consistent, consistent.verified) == (True, False)
    assert consistent.message.startswith("consistent; coordinator SHA256:")
    forged = begun.verify(replay=False)
    assert not forged.consistent
    assert "expected the pinned" in forged.problems[0].message
    with pytest.raises(TrustError, match=r"^coordinator/round-0000/round\.json: signed by the key"):
        begun.train("north")


def test_history_cut_off_at_the_end_is_caught_by_the_expected_head(finished: Federation) -> None:
    whole = finished.verify(replay=False)
    shutil.rmtree(finished.drop / "coordinator/round-0002")
    for path in finished.drop.glob("sites/*/round-0003"):
        shutil.rmtree(path)
    assert finished.verify(replay=False).consistent
    expecting = finished.verify(replay=False, expect_head=whole.head)
    assert not expecting.consistent
    assert "is not in the history" in expecting.problems[0].message


# ------------------------------------------------------------------------------------------------- models of other parties


def test_replay_catches_a_model_that_its_own_coordinator_signed(trained: Federation) -> None:
    """Records and digests agree, yet the model is not what the updates give."""
    trained.aggregate()
    key = layout.round_record(1)
    model = tensors.read(artifact_path(trained, key))
    model[first_float(model)].reshape(-1)[0] += 1
    swap(trained, key, Role.MODEL, model)
    assert trained.verify(replay=False).verified
    replayed = trained.verify()
    assert not replayed.consistent
    assert "replay gives" in replayed.problems[0].message


def test_a_global_model_of_another_network_is_refused_by_its_header(trained: Federation) -> None:
    trained.aggregate()
    key = layout.round_record(1)
    swap(trained, key, Role.MODEL, {"w": np.full(3, np.nan, np.float32)})
    name = artifact_path(trained, key).relative_to(trained.drop)
    with pytest.raises(TrustError, match=rf"^{name}: not the federation's model: \d+ missing tensors"):
        trained.train("north")
    assert not (trained.drop / layout.update("north", 2)).exists()


def test_a_shared_model_of_another_network_is_refused_by_its_header(finished: Federation) -> None:
    evaluate(EvaluateRequest(root=finished.site("valley")), finished.environment)
    key = layout.model("valley", 1, ModelKind.FEDERATED)
    model = tensors.read(artifact_path(finished, key))
    swap(finished, key, Role.MODEL, model | {"backdoor": np.full(3, np.nan, np.float32)})
    name = artifact_path(finished, key).relative_to(finished.drop)
    result = evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    reason = f"the federated model of valley is rejected: {name}: not the federation's model: 1 extra tensors, first backdoor"
    assert any(item.startswith(reason) for item in result.missing)
    assert all((score.model.kind, score.model.party) != (ModelKind.FEDERATED, "valley") for score in result.scores)

"""What the coordinator and a site do with a drop folder that somebody else has written to."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import tensors, wire
from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.records import Role, UpdateRecord
from fedcli.exchange.signatures import load_signer
from fedcli.operations.party import Status, artifact_of
from fedcli.operations.verify import verify
from fedcli.plan import Aggregation
from fedcli.progress import Silent
from tests.operations.federations import Federation, no_passphrase

if TYPE_CHECKING:
    from pathlib import Path


def forge_update(federation: Federation, site: str, number: int, value: float) -> None:
    """Replace a site's update by another one that the site's own key has signed, its first tensor's first value changed."""
    folder = federation.drop / f"sites/{site}/round-{number:04d}"
    record = wire.decode(UpdateRecord, (folder / "update.json").read_bytes())
    delta = tensors.read(next(folder.glob("*.safetensors")))
    name = next(name for name in delta if delta[name].dtype == np.float32)
    delta[name].reshape(-1)[0] = value
    shutil.rmtree(folder)
    folder.mkdir()
    measured = tensors.write(folder / "new", delta)
    key = layout.update(site, number)
    artifact = artifact_of(key, Role.UPDATE, measured)
    (folder / "new").rename(federation.drop / artifact.key)
    data = wire.encode(wire.decode_mapping(UpdateRecord, wire.plain(record) | {"artifacts": [wire.plain(artifact)]}))
    signer = load_signer(federation.site(site) / "key", no_passphrase)
    (federation.drop / layout.signature(key, wire.sha256(data))).write_bytes(signer.sign(data))
    (federation.drop / key).write_bytes(data)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_site_whose_update_is_not_finite_is_rejected_and_named(trained: Federation, value: float) -> None:
    forge_update(trained, "valley", 1, value)
    result = trained.aggregate()
    assert result.status is Status.WAITING
    assert [(item.site, "holds NaN or infinity in tensor" in item.reason) for item in result.rejected] == [("valley", True)]
    assert trained.aggregate(valley="broken GPU").status is Status.PUBLISHED


def test_a_tampered_artifact_is_rejected_in_the_pass_that_folds_it(trained: Federation) -> None:
    path = next((trained.drop / "sites/valley/round-0001").glob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    result = trained.aggregate()
    assert result.status is Status.WAITING
    assert f"{path.name} of valley: SHA-256" in result.rejected[0].reason


def test_an_update_of_another_site_in_this_sites_place_is_rejected(trained: Federation) -> None:
    shutil.rmtree(trained.drop / "sites/valley/round-0001")
    shutil.copytree(trained.drop / "sites/north/round-0001", trained.drop / "sites/valley/round-0001")
    reason = trained.aggregate().rejected[0].reason
    assert "signed by the key" in reason


def test_an_update_replayed_in_the_next_round_is_rejected(trained: Federation) -> None:
    trained.aggregate()
    trained.train("north")
    shutil.copytree(trained.drop / "sites/valley/round-0001", trained.drop / "sites/valley/round-0002")
    reason = trained.aggregate().rejected[0].reason
    assert "round: expected 2, found 1" in reason


def test_a_rolled_back_folder_is_refused_by_who_has_seen_more(finished: Federation) -> None:
    shutil.rmtree(finished.drop / "coordinator/round-0002")
    with pytest.raises(TrustError, match=r"round-0002/round\.json: gone from the drop folder"):
        finished.train("north")


def test_two_signed_records_for_one_place_are_equivocation(finished: Federation) -> None:
    path = finished.drop / "coordinator/round-0002/round.json"
    record = json.loads(path.read_text())
    record["created"] = "2026-11-24T09:00:00Z"
    data = (json.dumps(record, indent=1) + "\n").encode()
    signer = load_signer(finished.coordinator / "key", no_passphrase)
    (finished.drop / layout.signature("coordinator/round-0002/round.json", wire.sha256(data))).write_bytes(signer.sign(data))
    path.write_bytes(data)
    with pytest.raises(TrustError, match="equivocation: the coordinator has signed"):
        finished.train("north")


def test_a_forged_folder_is_caught_by_the_coordinators_key(begun: Federation, tmp_path: Path) -> None:
    other = Federation(root=tmp_path / "other", prepared={}).begin()
    shutil.rmtree(begun.drop)
    shutil.copytree(other.drop, begun.drop)
    consistent, _ = verify(str(begun.drop), progress=Silent())
    assert consistent.consistent
    assert not consistent.verified
    assert consistent.message.startswith("consistent; coordinator SHA256:")
    forged, _ = verify(str(begun.drop), progress=Silent(), coordinator=begun.fingerprint)
    assert not forged.consistent
    assert "expected the pinned" in forged.problems[0].message
    with pytest.raises(TrustError):
        begun.train("north")


def test_the_deadline_and_the_quorum(tmp_path: Path, prepared: dict[str, Path]) -> None:
    from dataclasses import replace  # noqa: PLC0415

    from tests.operations.federations import PLAN  # noqa: PLC0415

    plan = replace(PLAN, rounds=3, aggregation=Aggregation(quorum=1, deadline_hours=24.0))
    federation = Federation(root=tmp_path / "f", prepared=prepared, plan=plan).begin()
    federation.train()
    assert federation.aggregate().status is Status.PUBLISHED
    federation.train("north")
    federation.clock.pass_hours(23)
    waiting = federation.aggregate()
    assert waiting.status is Status.WAITING
    assert "waiting for all until" in waiting.message
    federation.clock.pass_hours(2)
    closed = federation.aggregate()
    assert (closed.status, closed.used, closed.absent) == (Status.PUBLISHED, ("north",), ("valley",))
    assert "1 of 2 sites; absent: valley" in closed.message

    # The other machine had trained meanwhile: its update is kept, named in the next round, and never used.
    late = federation.copy(tmp_path / "late")
    shutil.rmtree(late.drop / "coordinator/round-0002")
    shutil.rmtree(late.site("valley") / "trusted/coordinator/round-0002", ignore_errors=True)
    late.train("valley")
    shutil.copytree(late.drop / "sites/valley/round-0002", federation.drop / "sites/valley/round-0002")
    federation.train()
    result = federation.aggregate()
    assert result.status is Status.PUBLISHED
    assert [(item.site, item.round) for item in result.late] == [("valley", 2)]
    assert verify(str(federation.drop), progress=Silent(), replay=True, coordinator=federation.fingerprint)[0].verified


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
        result, _ = verify(str(finished.drop), progress=Silent(), coordinator=finished.fingerprint)
        assert not result.consistent, path
        name = path.relative_to(finished.drop).as_posix()
        record = name.split(".json")[0]
        assert any(record in problem.message for problem in result.problems), (name, result.problems)
        path.write_bytes(data)
    assert verify(str(finished.drop), progress=Silent(), replay=True, coordinator=finished.fingerprint)[0].verified


def test_replay_catches_a_model_that_its_own_coordinator_signed(trained: Federation) -> None:
    """Records and digests agree, yet the model is not what the updates give."""
    trained.aggregate()
    folder = trained.drop / "coordinator/round-0001"
    record = json.loads((folder / "round.json").read_text())
    model = tensors.read(next(folder.glob("*.safetensors")))
    name = next(name for name in model if model[name].dtype == np.float32)
    model[name].reshape(-1)[0] += 1
    shutil.rmtree(folder)
    folder.mkdir()
    measured = tensors.write(folder / "new", model)
    artifact = artifact_of("coordinator/round-0001/round.json", Role.MODEL, measured)
    (folder / "new").rename(trained.drop / artifact.key)
    record["artifacts"] = [wire.plain(artifact)]
    data = (json.dumps(record, indent=1) + "\n").encode()
    signer = load_signer(trained.coordinator / "key", no_passphrase)
    (trained.drop / layout.signature("coordinator/round-0001/round.json", wire.sha256(data))).write_bytes(signer.sign(data))
    (folder / "round.json").write_bytes(data)
    assert verify(str(trained.drop), progress=Silent(), coordinator=trained.fingerprint)[0].verified
    replayed, _ = verify(str(trained.drop), progress=Silent(), replay=True, coordinator=trained.fingerprint)
    assert not replayed.consistent
    assert "replay gives" in replayed.problems[0].message


def test_history_cut_off_at_the_end_is_caught_by_the_expected_head(finished: Federation) -> None:
    whole, _ = verify(str(finished.drop), progress=Silent(), coordinator=finished.fingerprint)
    shutil.rmtree(finished.drop / "coordinator/round-0002")
    for path in finished.drop.glob("sites/*/round-0003"):
        shutil.rmtree(path)
    cut, _ = verify(str(finished.drop), progress=Silent(), coordinator=finished.fingerprint)
    assert cut.consistent
    expecting, _ = verify(str(finished.drop), progress=Silent(), coordinator=finished.fingerprint, expect_head=whole.head)
    assert not expecting.consistent
    assert "is not in the history" in expecting.problems[0].message

"""`fedcli retrain`: a site's update comes out again, bit for bit, or the result says why it cannot; nothing changes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import UsageError
from fedcli.operations.archive import ArchiveRequest, archive
from fedcli.operations.retrain import RetrainRequest, RetrainResult, retrain
from fedcli.plan import Encoding, OptimizerState, Packing, Updates
from fedcli.results import Status
from tests.fixtures.command import run, succeed
from tests.fixtures.federation import PLAN, Federation, files_below
from tests.fixtures.tampering import rewrite

if TYPE_CHECKING:
    from pathlib import Path


def again(federation: Federation, number: int, site: str = "north", **values: tuple[Path, ...]) -> RetrainResult:
    return retrain(RetrainRequest(root=federation.site(site), round=number, **values), federation.environment)


@pytest.mark.parametrize("number", [1, 2])
def test_every_update_comes_out_again_and_nothing_changes(finished: Federation, number: int) -> None:
    before = files_below(finished.root)
    result = again(finished, number)
    assert (result.status, result.reproduced, result.differences) == (Status.DONE, True, ())
    assert result.actual == finished.update("north", number).artifacts[0].content_sha256
    assert files_below(finished.root) == before


def test_an_encoded_update_too(tmp_path: Path, prepared: dict[str, Path]) -> None:
    plan = replace(PLAN, updates=Updates(encoding=Encoding.INT8, packing=Packing.ZSTD))
    federation = Federation(root=tmp_path / "f", prepared=prepared, plan=plan).begin()
    federation.train()
    assert again(federation, 1).reproduced


def test_other_data_are_named(finished: Federation) -> None:
    root = finished.site("north")
    settings = root / "workspace.toml"
    settings.write_text(settings.read_text().replace(str(finished.prepared["north"]), str(finished.prepared["valley"])))
    result = again(finished, 1)
    assert (result.status, result.actual, result.differences) == (Status.FAILED, None, ("the prepared data have changed",))
    settings.write_text(re.sub(r"(?m)^prepared = .*$", 'prepared = "nowhere"', settings.read_text()))
    assert "cannot be trained again: the prepared data: " in again(finished, 1).message


def test_an_optimizer_state_that_is_not_kept_is_named_from_the_second_round_on(tmp_path: Path, prepared: dict[str, Path]) -> None:
    plan = replace(PLAN, training=replace(PLAN.training, optimizer_state=OptimizerState.KEEP))
    federation = Federation(root=tmp_path / "f", prepared=prepared, plan=plan).begin()
    federation.run(2)
    assert again(federation, 1).reproduced
    assert again(federation, 2).differences == ("the optimizer's state before that round is not kept",)


def test_other_versions_and_a_changed_update_are_told_apart(trained: Federation) -> None:
    key = "sites/north/round-0001/update.json"
    versions = {"fedcli": "0.0.1", "python": "3.11.0", "numpy": "2.0.0", "torch": "2.0.0"}
    rewrite(trained, key, versions=versions)
    result = again(trained, 1)
    assert result.reproduced
    assert {item.split()[0] for item in result.differences} >= {"fedcli", "torch"}


def test_an_update_that_was_not_trained_so_is_found(trained: Federation) -> None:
    sent = trained.update("north", 1)
    delta = trained.delta("north", 1)
    record = trained.send("north", 1, delta=delta, steps=sent.steps, images=sent.images, patients=sent.patients)
    result = again(trained, 1)
    assert (result.status, result.reproduced, result.expected) == (Status.FAILED, False, record.artifacts[0].content_sha256)
    assert "another update came out" in result.message


def test_an_archived_model_is_read_from_its_tar(finished: Federation) -> None:
    finished.amend(replace(finished.plan, rounds=9))
    archive(ArchiveRequest(root=finished.coordinator, file=finished.root / "old.tar", before=2), finished.environment)
    assert again(finished, 1, tars=(finished.root / "old.tar",)).reproduced


def test_there_must_be_an_update(trained: Federation) -> None:
    with pytest.raises(UsageError, match="north has sent no update of round 2"):
        again(trained, 2)
    with pytest.raises(UsageError, match="north has sent no update of round 9"):
        again(trained, 9)


def test_the_command_prints_one_object_and_fails_where_the_bits_differ(trained: Federation) -> None:
    words = ("retrain", "-C", trained.site("north"), "--round", "1")
    result = succeed(*words)
    assert list(result) == [
        "command", "status", "message", "site", "round", "reproduced", "expected", "actual", "differences",
    ]  # fmt: skip
    assert result["reproduced"]
    settings = trained.site("north") / "workspace.toml"
    settings.write_text(settings.read_text().replace(str(trained.prepared["north"]), str(trained.prepared["valley"])))
    done = run(*words)
    assert (done.returncode, "cannot be trained again: the prepared data have changed" in done.stdout) == (6, True)

"""Archives: artifacts go into a tar, records stay, and `verify` knows what is where."""

from __future__ import annotations

import os
from dataclasses import replace
from errno import EACCES
from functools import partial
from typing import TYPE_CHECKING

import pytest

from fedcli.environment import Environment
from fedcli.errors import TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.history.best_round import best_round
from fedcli.exchange.tar import Tar
from fedcli.operations.archive import ArchiveRequest, archive
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.export import ExportRequest, export
from fedcli.operations.import_ import ImportRequest, import_
from fedcli.party.source import Source
from fedcli.results import Status
from fedcli.text.wording import counted
from fedcli.workspace import Workspace
from tests.fixtures.federation import PLAN, Federation
from tests.fixtures.files import files_below
from tests.fixtures.killing import chosen, run_dying

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.operations.archive import ArchiveResult
    from fedcli.operations.verify import VerifyResult

ROUNDS = 4
CLOSED = 4
BEFORE = 4


@pytest.fixture(scope="module")
def long_once(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> Federation:
    federation = Federation(
        root=tmp_path_factory.mktemp("long") / "f", prepared=prepared, plan=replace(PLAN, rounds=ROUNDS)
    ).begin()
    for _ in range(CLOSED):
        federation.train()
        federation.aggregate()
    return federation


@pytest.fixture
def long(tmp_path: Path, long_once: Federation) -> Federation:
    """All four rounds are aggregated."""
    return long_once.copy(tmp_path / "long")


def archived(federation: Federation, name: str = "a.tar", before: int = BEFORE, party: str = "coordinator") -> ArchiveResult:
    return archive(
        ArchiveRequest(root=federation.root / party, file=federation.root / name, before=before), federation.environment
    )


def verified(federation: Federation, *tars: str, replay: bool = True) -> VerifyResult:
    paths = tuple(federation.root / name for name in tars)
    return federation.verify(replay=replay, tars=paths)


def artifacts(federation: Federation) -> dict[str, bytes]:
    return {key: data for key, data in federation.files().items() if layout.is_artifact(key)}


def movable(federation: Federation, before: int) -> set[str]:
    """Return what must go: the updates before a round, and the models before the one that it begins from, but for the best."""
    history = federation.history()
    best = history.rounds[best_round(history).round].artifact.key
    goes = [f"sites/{site}/round-{number:04d}/" for site in federation.prepared for number in range(1, before)]
    goes += [f"coordinator/round-{number:04d}/" for number in range(1, before - 1)]
    return {key for key in artifacts(federation) if key.startswith(tuple(goes)) and key != best}


def test_artifacts_of_old_rounds_go_and_everything_else_stays(long: Federation) -> None:
    before, goes = long.files(), movable(long, BEFORE)
    result = archived(long)
    assert (result.status, result.moved, result.left, result.before) == (Status.PUBLISHED, len(goes), (), BEFORE)
    after = long.files()
    assert before.keys() - after.keys() == goes
    added = after.keys() - before.keys()
    assert sorted(key.split(".")[0] for key in added) == ["coordinator/archive-0001"] * 2
    assert all(before[key] == after[key] for key in before.keys() & after.keys())
    found = Tar(long.root / "a.tar")
    assert set(found.list("")) == goes
    assert all(found.read(key, 1 << 30) == before[key] for key in goes)


def test_verify_says_from_where_on_and_takes_the_tar_for_the_rest(long: Federation) -> None:
    whole = verified(long)
    assert (whole.replayable_from, whole.archived, whole.replayed) == (1, 0, CLOSED)
    goes = len(movable(long, BEFORE))
    archived(long)
    without = verified(long)
    assert (without.verified, without.replayable_from, without.archived) == (True, BEFORE, goes)
    assert (without.replayed, without.artifacts) == (CLOSED - BEFORE + 1, whole.artifacts - goes)
    assert without.message.endswith(
        f", {counted(CLOSED - BEFORE + 1, 'round')} recomputed bit for bit, replayable from round {BEFORE}"
    )
    within = verified(long, "a.tar")
    assert (within.verified, within.replayable_from, within.archived, within.replayed) == (True, 1, 0, CLOSED)
    assert within.artifacts == whole.artifacts
    assert "replayable from" not in within.message
    assert within.unaccounted == without.unaccounted == ()


def test_whatever_else_is_missing_is_still_a_fault(long: Federation) -> None:
    """What the record covers may be absent; nobody else's deletion hides behind it."""
    archived(long, before=3)
    covered = {key for key in artifacts(long) if key.startswith("coordinator/round-0001/")}
    for key in sorted(artifacts(long).keys() - covered):
        data = (long.drop / key).read_bytes()
        (long.drop / key).unlink()
        found = verified(long, replay=False)
        assert not found.consistent
        assert key in {problem.key for problem in found.problems}
        (long.drop / key).write_bytes(data)
    assert verified(long).verified


def test_without_the_coordinators_record_nothing_may_be_missing(long: Federation) -> None:
    goes = movable(long, BEFORE)
    archived(long)
    for path in long.drop.glob("coordinator/archive-0001.json*"):
        data = path.read_bytes()
        path.unlink()
        assert not verified(long, replay=False).consistent
        path.write_bytes(data.replace(b'"before": 4', b'"before": 3').replace(b"A", b"B"))
        assert not verified(long, replay=False).consistent
        path.write_bytes(data)
    for path in long.drop.glob("coordinator/archive-0001.json*"):
        path.unlink()
    found = verified(long)
    assert not found.consistent
    assert goes <= {problem.key for problem in found.problems}
    assert verified(long, "a.tar").verified


def test_a_tar_with_a_changed_byte_is_caught(long: Federation) -> None:
    archived(long)
    path = long.root / "a.tar"
    data = bytearray(path.read_bytes())
    key = Tar(path).list("")[0]
    position = data.index(key.encode()) + 512 + 1000
    data[position] ^= 1
    path.write_bytes(data)
    found = verified(long, "a.tar")
    assert not found.consistent
    assert {problem.key for problem in found.problems} >= {key}


def test_archived_again_with_a_later_round(long: Federation) -> None:
    archived(long, "first.tar", before=2)
    archived(long, "second.tar", before=4)
    assert verified(long).replayable_from == 4
    assert verified(long, "second.tar").replayable_from == 2
    assert verified(long, "first.tar", "second.tar").replayed == CLOSED
    again = archived(long, "third.tar", before=3)
    assert (again.status, again.moved, again.file) == (Status.DONE, 0, None)
    assert not (long.root / "third.tar").exists()


def test_running_parties_have_what_they_need(long: Federation) -> None:
    archived(long)
    assert [result.status for result in long.train()] == [Status.FINISHED] * 2
    assert evaluate(EvaluateRequest(root=long.site("north")), long.environment).status is Status.PUBLISHED
    assert verified(long).verified


def test_the_next_round_goes_on_from_what_stays(begun: Federation) -> None:
    begun.train()
    begun.aggregate()
    before = artifacts(begun)
    archived(begun, before=1)
    assert artifacts(begun) == before
    begun.train()
    begun.aggregate()
    archived(begun, before=2)
    assert verified(begun).replayable_from == 2


@pytest.mark.parametrize("before", [0, CLOSED + 1])
def test_the_newest_round_stays(long: Federation, before: int) -> None:
    with pytest.raises(UsageError, match=f"--before {before}: expected 1 to {CLOSED}"):
        archived(long, before=before)


def test_nothing_moves_while_something_does_not_verify(long: Federation) -> None:
    path = next((long.drop / "sites/valley/round-0001").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    before = long.files()
    with pytest.raises(TrustError, match=path.name):
        archived(long)
    assert long.files() == before
    assert not (long.root / "a.tar").exists()


def test_a_tar_that_holds_something_else_is_not_taken_for_it(long: Federation) -> None:
    archived(long, "a.tar", before=2)
    before = long.files()
    with pytest.raises(UsageError, match=r"a\.tar: exists already, without coordinator/round-000[12]/global-"):
        archived(long, "a.tar", before=4)
    (long.root / "b.tar").write_bytes(b"something else")
    with pytest.raises(TrustError, match=r"b\.tar"):
        archived(long, "b.tar", before=4)
    assert long.files() == before


def test_each_party_removes_what_it_may(long: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="the coordinator has archived before round 0"):
        archived(long, "valley.tar", party="valley")
    original = os.unlink

    def guarded(path: Path, **options: int) -> None:
        if "drop/sites/valley/" in str(path) and str(path).endswith(".safetensors"):
            raise OSError(EACCES, os.strerror(EACCES), str(path))
        original(path, **options)

    goes = movable(long, BEFORE)
    monkeypatch.setattr(os, "unlink", guarded)
    result = archived(long)
    monkeypatch.undo()
    left = {key for key in goes if key.startswith("sites/valley/")}
    assert set(result.left) == left
    assert result.moved == len(goes) - len(left)
    assert "stay in sites/valley, whose owners can remove them: `fedcli archive TAR -C WORKSPACE --before 4`" in result.message
    assert verified(long).replayable_from == BEFORE

    own = archived(long, "valley.tar", party="valley")
    assert (own.status, own.moved) == (Status.PUBLISHED, len(left))
    assert set(Tar(long.root / "valley.tar").list("")) == left
    assert verified(long, "a.tar").replayed == CLOSED


def test_killed_at_any_moment_it_goes_on(long: Federation, tmp_path: Path) -> None:
    before, goes = long.files(), movable(long, BEFORE)
    total = run_dying(0, partial(archived, long.copy(tmp_path / "calm")), tmp_path / "said")
    assert total is not None
    stages = []
    for number in chosen(total, 12):
        federation = long.copy(tmp_path / str(number))
        assert run_dying(number, partial(archived, federation), tmp_path / "said") is None
        stages.append(len(artifacts(federation)))
        archived(federation)
        assert before.keys() - federation.files().keys() == goes
        assert verified(federation).replayable_from == BEFORE
        assert verified(federation, "a.tar").replayed == CLOSED
    assert stages == sorted(stages, reverse=True)
    assert len(set(stages)) > 2  # before, among and after the removals


def test_an_archived_folder_travels(long: Federation, tmp_path: Path) -> None:
    archived(long)
    other = tmp_path / "other"
    other.mkdir()
    export(ExportRequest(source=Source.of_workspace(Workspace.open(long.coordinator)), file=tmp_path / "a.tar"), Environment())
    import_(
        ImportRequest(source=Source(address=str(other), coordinator=long.fingerprint), file=tmp_path / "a.tar"), Environment()
    )
    assert files_below(other) == long.files()

"""Export and import: two drop folders that cannot see each other."""

from __future__ import annotations

import random
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fedcli.environment import Environment
from fedcli.errors import ConflictError, FedcliError, StoreError, TrustError, UsageError
from fedcli.exchange import layout, tar
from fedcli.exchange.store import LocalStore
from fedcli.exchange.tar import Tar
from fedcli.operations.admit import AdmitRequest, admit
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import aggregate
from fedcli.operations.export import ExportRequest, export
from fedcli.operations.import_ import ImportRequest, import_
from fedcli.operations.init import InitRequest, init
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.source import Source
from fedcli.results import Status
from fedcli.workspace import Workspace
from tests.fixtures.federation import PLAN, Federation
from tests.fixtures.files import files_below
from tests.fixtures.history import HandmadeHistory, complete_history
from tests.fixtures.killing import chosen, run_dying
from tests.fixtures.signing import changed, publish, signer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.operations.export import ExportResult
    from fedcli.operations.import_ import ImportResult

NOWHERE = Path("nowhere")
COORDINATOR = signer_of("coordinator").verify_key.fingerprint


def send(target: Path, drop: Path, since: int = 0) -> ExportResult:
    return export(
        ExportRequest(source=Source(address=str(drop), coordinator=COORDINATOR), file=target, since=since), Environment()
    )


def receive(path: Path, drop: Path, coordinator: str | None = COORDINATOR) -> ImportResult:
    return import_(ImportRequest(source=Source(address=str(drop), coordinator=coordinator), file=path), Environment())


def verified(drop: Path) -> bool:
    return verify(VerifyRequest(source=Source(address=str(drop), coordinator=COORDINATOR)), Environment())[0].verified


def repack(source: Path, target: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """Write a tar again with other files in it."""
    found = Tar(source)
    files = {key: found.read(key, 1 << 20) for key in found.list("")}
    change(files)
    tar.write(target, sorted(files.items()))
    return target


@pytest.fixture
def history() -> HandmadeHistory:
    return complete_history()


@pytest.fixture
def drop(tmp_path: Path, history: HandmadeHistory) -> Path:
    (tmp_path / "drop").mkdir()
    history.publish(LocalStore(tmp_path / "drop"))
    return tmp_path / "drop"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another place, empty."""
    (tmp_path / "other").mkdir()
    return tmp_path / "other"


# --------------------------------------------------------------------------------------------------------------- export


def test_what_is_exported_and_imported_is_the_same_folder(tmp_path: Path, drop: Path, other: Path) -> None:
    sent = send(tmp_path / "a.tar", drop)
    assert (sent.status, sent.records, sent.artifacts, sent.round, sent.verified, sent.left_out) == (
        Status.DONE, 10, 6, 1, True, (),
    )  # fmt: skip
    received = receive(tmp_path / "a.tar", other)
    assert (received.status, received.records, received.artifacts, received.known) == (Status.PUBLISHED, 10, 6, 0)
    assert files_below(other) == files_below(drop)
    again = receive(tmp_path / "a.tar", other)
    assert (again.status, again.records, again.artifacts, again.known) == (Status.DONE, 0, 0, 26)
    assert send(tmp_path / "b.tar", other).sha256 == sent.sha256


def test_since_takes_the_newer_rounds_and_what_belongs_to_none(tmp_path: Path, drop: Path) -> None:
    every = send(tmp_path / "0.tar", drop, since=0)
    for since in (1, 2):
        send(tmp_path / f"{since}.tar", drop, since=since)
        kept = {key for key in Tar(tmp_path / "0.tar").list("") if not any(f"round-{n:04d}/" in key for n in range(since))}
        assert set(Tar(tmp_path / f"{since}.tar").list("")) == kept
    assert every.since == 0
    with pytest.raises(UsageError, match="--since 3: expected at most 2"):
        send(tmp_path / "3.tar", drop, since=3)
    assert not (tmp_path / "3.tar").exists()


def test_a_file_that_verifies_as_nothing_stays_behind(tmp_path: Path, drop: Path, other: Path) -> None:
    (drop / "notes.txt").write_text("not for others")
    update = next((drop / "sites/north/round-0002").glob("*.safetensors"))
    update.write_bytes(update.read_bytes()[:-1] + b"\xff")
    sent = send(tmp_path / "a.tar", drop)
    assert [problem.key for problem in sent.left_out] == [update.relative_to(drop).as_posix()]
    receive(tmp_path / "a.tar", other)
    assert files_below(drop).keys() - files_below(other).keys() == {
        "notes.txt", *(path.relative_to(drop).as_posix() for path in update.parent.iterdir()),
    }  # fmt: skip
    assert verified(other)


@pytest.mark.parametrize("pattern", ["coordinator/*", "coordinator/round-0001/*", "sites/*/round-0001/*"])
@pytest.mark.parametrize("what", ["changed", "gone"])
def test_a_damaged_chain_is_not_exported(tmp_path: Path, drop: Path, pattern: str, what: str) -> None:
    for path in sorted(path for path in drop.glob(pattern) if path.is_file()):
        if (what, path.name) == ("gone", "round.json"):
            continue  # a history that is cut off at its end is a shorter one: parties remember, tars do not
        data = path.read_bytes()
        if what == "gone":
            path.unlink()
        else:
            path.write_bytes(data[:-2] + b"!" + data[-1:])
        with pytest.raises(TrustError):
            send(tmp_path / "a.tar", drop)
        path.write_bytes(data)
    assert not (tmp_path / "a.tar").exists()


def test_a_folder_without_a_federation_has_nothing_to_export(tmp_path: Path, other: Path) -> None:
    with pytest.raises(FedcliError):
        send(tmp_path / "a.tar", other)
    assert not (tmp_path / "a.tar").exists()


def test_another_coordinators_folder_is_not_exported(tmp_path: Path, drop: Path) -> None:
    with pytest.raises(TrustError, match="expected the pinned"):
        export(
            ExportRequest(
                source=Source(address=str(drop), coordinator=signer_of("north").verify_key.fingerprint), file=tmp_path / "a.tar"
            ),
            Environment(),
        )


# --------------------------------------------------------------------------------------------------------------- import


def test_no_changed_byte_is_imported(tmp_path: Path, drop: Path, other: Path) -> None:
    send(tmp_path / "a.tar", drop)
    generator = random.Random(7)
    for number, key in enumerate(Tar(tmp_path / "a.tar").list("")):

        def flip(files: dict[str, bytes], key: str = key) -> None:
            content = bytearray(files[key])
            content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
            files[key] = bytes(content)

        with pytest.raises(TrustError):
            receive(repack(tmp_path / "a.tar", tmp_path / f"{number}.tar", flip), other)
        assert files_below(other) == {}, key


def test_no_file_can_be_missing(tmp_path: Path, drop: Path, other: Path) -> None:
    """But for whole records with all that is theirs, which nobody else names."""
    send(tmp_path / "a.tar", drop)
    free = (
        "sites/north/enrolment",
        "sites/north/dataset",
        "sites/north/evaluation",
        "sites/north/round-0002/",
        "sites/north/mod",
    )
    for number, key in enumerate(Tar(tmp_path / "a.tar").list("")):
        if key.endswith(".json") and key.startswith(free):
            continue
        with pytest.raises(TrustError):
            receive(repack(tmp_path / "a.tar", tmp_path / f"{number}.tar", lambda files, key=key: files.pop(key)), other)
        assert files_below(other) == {}, key


@pytest.mark.parametrize(
    "key", ["notes.txt", "coordinator/extra.json", "sites/north/round-0001/update-0123456789ab.safetensors", "sites/north/a.sig"]
)
def test_nothing_else_comes_with_it(tmp_path: Path, drop: Path, other: Path, key: str) -> None:
    send(tmp_path / "a.tar", drop)
    with pytest.raises(TrustError, match=f"{key}: no verified record names this file"):
        receive(repack(tmp_path / "a.tar", tmp_path / "b.tar", lambda files: files.update({key: b"{}"})), other)
    assert files_below(other) == {}


def test_another_coordinators_tar_is_refused(tmp_path: Path, drop: Path, other: Path) -> None:
    send(tmp_path / "a.tar", drop)
    with pytest.raises(TrustError, match="expected the pinned"):
        receive(tmp_path / "a.tar", other, signer_of("north").verify_key.fingerprint)
    assert files_below(other) == {}
    unconfirmed = receive(tmp_path / "a.tar", other, None)
    assert not unconfirmed.verified
    assert f"consistent; coordinator {COORDINATOR} not confirmed" in unconfirmed.message


def test_rounds_that_do_not_meet_are_refused(tmp_path: Path, drop: Path, other: Path) -> None:
    send(tmp_path / "a.tar", drop, since=1)
    with pytest.raises(TrustError) as caught:
        receive(tmp_path / "a.tar", other)
    assert "lower --since" in caught.value.hint
    assert files_below(other) == {}


def test_an_empty_tar_and_a_folder_that_is_not_there(tmp_path: Path, other: Path) -> None:
    tar.write(tmp_path / "empty.tar", ())
    with pytest.raises(TrustError, match="contains no federation"):
        receive(tmp_path / "empty.tar", other)
    with pytest.raises(StoreError, match="the drop folder is not there"):
        receive(tmp_path / "empty.tar", tmp_path / "unmounted")


def test_a_conflict_is_named_and_changes_nothing(tmp_path: Path, drop: Path, other: Path, history: HandmadeHistory) -> None:
    send(tmp_path / "a.tar", drop)
    receive(tmp_path / "a.tar", other)
    second = changed(history.updates["north", 2], "north", seconds=3.0)
    (other / second.key).unlink()
    publish(LocalStore(other), second)
    before = files_below(other)
    with pytest.raises(ConflictError, match=r"sites/north/round-0002/update\.json: .* has other bytes"):
        receive(tmp_path / "a.tar", other)
    assert files_below(other) == before


def test_what_does_not_verify_here_does_not_stop_what_comes(tmp_path: Path, drop: Path, other: Path) -> None:
    """A site's bad file in the drop folder is that site's affair."""
    send(tmp_path / "a.tar", drop)
    bad = other / "sites/valley/round-0001/update-0123456789ab.safetensors"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"bad")
    (other / "sites/stranger").mkdir()
    (other / "sites/stranger/enrolment-0000.json").write_bytes(b"{}")
    assert receive(tmp_path / "a.tar", other).records == 10


def test_killed_at_any_moment_it_goes_on(tmp_path: Path, drop: Path) -> None:
    tar_file = tmp_path / "a.tar"
    send(tar_file, drop)
    (tmp_path / "calm").mkdir()
    total = run_dying(0, partial(receive, tar_file, tmp_path / "calm"), tmp_path / "said")
    assert total is not None
    stages = []
    for number in chosen(total, 12):
        other = tmp_path / f"other-{number}"
        other.mkdir()
        assert run_dying(number, partial(receive, tar_file, other), tmp_path / "said") is None
        stages.append(len(published(other)))
        receive(tar_file, other)
        assert published(other) == files_below(drop)
        assert verified(other)
    assert stages == sorted(stages)
    assert len(set(stages)) > 6


def published(folder: Path) -> dict[str, bytes]:
    """Return the files of a drop folder, without what a killed process leaves beside them."""
    return {key: data for key, data in files_below(folder).items() if layout.is_key(key) and "/probe-" not in key}


# ------------------------------------------------------------------------------------------------------------ USB sticks


def test_a_hospital_that_can_only_carry_sticks(tmp_path: Path, prepared: dict[str, Path], finished_once: Federation) -> None:
    """North's own drop folder never sees the coordinator's, and the federation ends with the same bits."""
    hub = Federation(root=tmp_path / "hub")
    hub.fingerprint = init(
        InitRequest(root=hub.coordinator, plan=PLAN, source=Source(address=str(hub.drop))), hub.environment
    ).coordinator
    local = tmp_path / "local"
    local.mkdir()
    north = tmp_path / "north"
    sticks = iter(range(100))

    def carry(source: Path, target: Path, since: int = 0) -> ImportResult:
        stick = tmp_path / f"stick-{next(sticks)}.tar"
        export(ExportRequest(source=Source.of_workspace(Workspace.open(source)), file=stick, since=since), Environment())
        return import_(ImportRequest(source=Source.of_workspace(Workspace.open(target)), file=stick), Environment())

    first = tmp_path / "first.tar"
    export(ExportRequest(source=Source.of_workspace(Workspace.open(hub.coordinator)), file=first), Environment())
    import_(ImportRequest(source=Source(address=str(local), coordinator=hub.fingerprint), file=first), Environment())
    invitation = inspect(Source(address=str(local), coordinator=hub.fingerprint))
    request = JoinRequest(
        root=north,
        site="north",
        invitation=invitation,
        prepared=str(prepared["north"]),
        share_dataset=True,
        share_models=True,
    )
    joined = join(request, hub.environment)
    carry(north, hub.coordinator)
    admit(AdmitRequest(root=hub.coordinator, site="north", fingerprint=joined.fingerprint), hub.environment)
    hub.prepared["valley"] = prepared["valley"]
    hub.join("valley")

    for number in range(1, PLAN.rounds + 1):
        carry(hub.coordinator, north, since=number - 1)
        assert train_round(TrainRoundRequest(root=north), hub.environment).status is Status.PUBLISHED
        assert carry(north, hub.coordinator, since=number).artifacts == 1
        hub.train("valley")
        assert aggregate(AggregateRequest(root=hub.coordinator), hub.environment).status is Status.PUBLISHED
    carry(hub.coordinator, north, since=PLAN.rounds)
    assert train_round(TrainRoundRequest(root=north), hub.environment).status is Status.FINISHED

    models = [path.name for path in sorted(hub.drop.glob("coordinator/round-*/*.safetensors"))]
    assert models == [path.name for path in sorted(finished_once.drop.glob("coordinator/round-*/*.safetensors"))]
    assert files_below(local).keys() - files_below(hub.drop).keys() == set()
    for folder in (local, hub.drop):
        assert (
            verify(VerifyRequest(source=Source(address=str(folder), coordinator=hub.fingerprint), replay=True), Environment())[
                0
            ].replayed
            == PLAN.rounds
        )


def test_a_fork_does_not_travel(tmp_path: Path, finished: Federation) -> None:
    """Who has imported one history refuses another one of the same coordinator."""
    export(
        ExportRequest(source=Source.of_workspace(Workspace.open(finished.coordinator)), file=tmp_path / "a.tar"), Environment()
    )
    fork = finished.copy(tmp_path / "fork")
    for number in (2, 1):
        shutil.rmtree(fork.drop / f"coordinator/round-{number:04d}")
    shutil.rmtree(fork.coordinator / "trusted/coordinator")
    shutil.rmtree(fork.drop / "sites/valley/round-0001")
    fork.clock.pass_hours(1)
    assert fork.aggregate(valley="gone").status is Status.PUBLISHED
    with pytest.raises(ConflictError, match=r"coordinator/round-0001/round\.json"):
        import_(
            ImportRequest(source=Source.of_workspace(Workspace.open(fork.coordinator)), file=tmp_path / "a.tar"), Environment()
        )

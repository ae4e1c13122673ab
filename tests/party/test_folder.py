"""What one party makes of a drop folder: what it has trusted it does not forget, and what it uses it has hashed."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli import tensors, wire
from fedcli.errors import MissingError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.records import Role
from fedcli.exchange.signatures import MAX_SIGNATURE_BYTES
from fedcli.exchange.store import LocalStore
from fedcli.party.folder import Folder
from fedcli.party.memory.trusted_records import TrustedRecords
from tests.fixtures.history import HandmadeHistory, complete_history
from tests.fixtures.records import CREATED, artifact, file_of, model
from tests.fixtures.signing import amendment, changed, keys_of, publish, sign, signer_of
from tests.fixtures.tampering import place

if TYPE_CHECKING:
    from pathlib import Path


EXPECTED = tensors.layout_of(model(0.0))
LATER = CREATED.replace(hour=9).isoformat()


@pytest.fixture(scope="module")
def history() -> HandmadeHistory:
    return complete_history()


@pytest.fixture
def drop(tmp_path: Path, history: HandmadeHistory) -> Path:
    """A drop folder that holds the whole valid history."""
    history.publish(LocalStore(tmp_path / "drop"))
    return tmp_path / "drop"


def party(tmp_path: Path, *, memory: bool = True) -> Folder:
    """Return the drop folder as a party sees it when a command starts, with what earlier commands remembered."""
    return Folder(
        LocalStore(tmp_path / "drop"),
        coordinator=signer_of("coordinator").verify_key.fingerprint,
        cache=tmp_path / "cache",
        memory=TrustedRecords(tmp_path / "trusted") if memory else None,
    )


def synchronised(tmp_path: Path, *, memory: bool = True) -> Folder:
    folder = party(tmp_path, memory=memory)
    folder.synchronise()
    return folder


def refused(tmp_path: Path, match: str) -> None:
    """Expect the drop folder to be refused each time that a command starts."""
    for _ in range(2):
        with pytest.raises(TrustError, match=match):
            synchronised(tmp_path)


# --------------------------------------------------------------------------------------------------- going forward


def test_the_whole_history_is_taken_and_remembered(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    folder = synchronised(tmp_path)
    assert folder.ledger.newest_round == 1
    assert [record.digest for record in folder.ledger.rounds] == [wire.sha256(signed.data) for signed in history.rounds]
    remembered = (history.federation, *history.rounds)
    keys = [signed.key for signed in remembered] + [
        layout.signature(signed.key, wire.sha256(signed.data)) for signed in remembered
    ]
    assert LocalStore(tmp_path / "trusted").list("") == ("checkpoint", *sorted(keys))
    for signed in remembered:
        assert (tmp_path / "trusted" / signed.key).read_bytes() == signed.data


def test_an_empty_drop_folder_begins_no_federation(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    assert synchronised(tmp_path).ledger.federations == []


def test_a_party_goes_forward_from_what_it_has_trusted(tmp_path: Path, history: HandmadeHistory) -> None:
    store = LocalStore(tmp_path / "drop")
    for signed in (history.federation, history.rounds[0]):
        publish(store, signed)
    assert synchronised(tmp_path).ledger.newest_round == 0
    publish(store, history.rounds[1])
    assert synchronised(tmp_path).ledger.newest_round == 1


def test_a_record_whose_signature_came_without_it_is_not_there_yet(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    (drop / history.rounds[1].key).unlink()
    assert synchronised(tmp_path).ledger.newest_round == 0


def test_looking_again_writes_nothing(tmp_path: Path, drop: Path) -> None:
    """300 rounds are remembered once, not flushed to the disk again at every command."""
    synchronised(tmp_path)
    folders = [path for path in (tmp_path / "trusted").rglob("*") if path.is_dir()]
    assert folders
    for path in folders:
        os.utime(path, (0, 0))
    assert synchronised(tmp_path).ledger.newest_round == 1
    assert {path.stat().st_mtime for path in folders} == {0.0}


def test_another_coordinator_is_refused(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    forged = changed(history.federation, "stranger", coordinator=wire.plain(keys_of("stranger")))
    place(drop, forged)
    refused(tmp_path, "expected the pinned SHA256:")
    assert LocalStore(tmp_path / "trusted").list("") == ()


def test_a_gap_in_the_history_is_refused(tmp_path: Path, drop: Path) -> None:
    shutil.rmtree(drop / "coordinator/round-0000")
    refused(tmp_path, "round: expected 0, found 1")


# --------------------------------------------------------------------------------------------- rollback, fork, change


@pytest.mark.parametrize(
    "gone", ["coordinator/round-0001", "coordinator/round-0001/round.json", "coordinator", "coordinator/federation-0000.json"]
)
def test_a_rolled_back_folder_is_refused(tmp_path: Path, drop: Path, gone: str) -> None:
    synchronised(tmp_path)
    path = drop / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    refused(tmp_path, r"round-0001/round\.json: gone from the drop folder|federation-0000\.json: gone from the drop folder")
    (tmp_path / "trusted").rename(tmp_path / "forgotten")
    if gone.startswith("coordinator/round-0001"):
        assert synchronised(tmp_path).ledger.newest_round == 0  # only memory can tell


def test_a_rolled_back_amendment_is_refused(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    place(drop, amendment(history.federation, 2))
    assert len(synchronised(tmp_path).ledger.federations) == 2
    (drop / layout.federation(1)).unlink()
    refused(tmp_path, r"federation-0001\.json: gone from the drop folder")


def test_a_fork_that_the_coordinator_signed_is_equivocation(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    synchronised(tmp_path)
    other = changed(history.rounds[1], "coordinator", created=LATER)
    place(drop, other)
    refused(tmp_path, f"equivocation: the coordinator has signed {wire.sha256(other.data)[:12]} here")


def test_a_longer_fork_is_equivocation_too(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    synchronised(tmp_path)
    other = changed(history.rounds[1], "coordinator", created=LATER)
    place(drop, other)
    third = replace(history.rounds[1], key=layout.round_record(2))
    place(drop, changed(third, "coordinator", round=2, parent=wire.sha256(other.data)))
    refused(tmp_path, "equivocation")


def test_a_forked_amendment_is_equivocation(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    place(drop, amendment(history.federation, 2))
    synchronised(tmp_path)
    place(drop, amendment(history.federation, 3))
    refused(tmp_path, "federation-0001.json: equivocation")


def test_a_fork_that_somebody_else_signed_accuses_nobody(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    synchronised(tmp_path)
    place(drop, changed(history.rounds[1], "north", created=LATER))
    refused(tmp_path, "signed by the key")


def test_a_changed_newest_record_is_refused(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    synchronised(tmp_path)
    path = drop / history.rounds[1].key
    path.write_bytes(path.read_bytes() + b" ")
    refused(tmp_path, "unsigned: there is no coordinator/round-0001")


def test_an_older_record_that_was_changed_is_not_read_again(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    """A party relies on its memory; a party without one sees the change."""
    synchronised(tmp_path)
    (drop / history.rounds[0].key).write_bytes(b"{}")
    folder = synchronised(tmp_path)
    assert folder.ledger.rounds[0].digest == wire.sha256(history.rounds[0].data)
    with pytest.raises(TrustError, match=r"round-0000/round\.json: unsigned"):
        synchronised(tmp_path, memory=False)


def test_memory_whose_newest_round_was_changed_is_refused(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    synchronised(tmp_path)
    path = tmp_path / "trusted" / history.rounds[1].key
    path.write_bytes(path.read_bytes().replace(b"2026", b"2027"))
    refused(tmp_path, r"round-0001/round\.json: unsigned")


def test_memory_whose_older_round_was_changed_is_refused_when_it_is_used(
    tmp_path: Path, drop: Path, history: HandmadeHistory
) -> None:
    """From then on by every command, since none has a checkpoint any more."""
    synchronised(tmp_path)
    path = tmp_path / "trusted" / history.rounds[0].key
    path.write_bytes(path.read_bytes().replace(b"2026", b"2027"))
    folder = synchronised(tmp_path)
    with pytest.raises(TrustError, match=r"round-0000/round\.json: in .*trusted: expected SHA-256 \w{12}, .* found \w{12}"):
        folder.global_model(0)
    refused(tmp_path, r"round-0000/round\.json: unsigned")


# ---------------------------------------------------------------------------------------------------------- updates


def test_a_used_update_is_remembered_and_then_read_from_memory(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    signed = history.updates["north", 1]
    update = synchronised(tmp_path).update("north", 1)
    assert update is not None
    assert (tmp_path / "trusted" / signed.key).read_bytes() == signed.data
    place(drop, changed(signed, "north", norm=99.0))
    assert synchronised(tmp_path).update("north", 1) == update
    shutil.rmtree(drop / "sites")
    assert synchronised(tmp_path).update("north", 1) == update


def test_another_update_than_the_round_used_is_refused(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    other = changed(history.updates["north", 1], "north", norm=99.0)
    place(drop, other)
    used = wire.sha256(history.updates["north", 1].data)[:12]
    for memory in (True, False):
        with pytest.raises(TrustError, match=f"SHA-256 {wire.sha256(other.data)[:12]}, expected {used}, which round 1 used"):
            synchronised(tmp_path, memory=memory).update("north", 1)
    assert not (tmp_path / "trusted" / other.key).exists()


def test_an_update_that_no_round_has_used_is_not_remembered(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    folder = synchronised(tmp_path)
    update = folder.update("north", 2)
    assert update is not None
    assert update.digest == wire.sha256(history.updates["north", 2].data)
    assert not (tmp_path / "trusted" / update.key).exists()
    other = changed(history.updates["north", 2], "north", norm=99.0)
    place(drop, other)
    again = folder.update("north", 2)
    assert again is not None
    assert again.digest == wire.sha256(other.data)
    assert folder.update("valley", 2) is None


def test_an_update_that_is_no_file_is_absent(tmp_path: Path, drop: Path) -> None:
    """A site cannot stop the coordinator by what it puts in a record's place."""
    path = drop / layout.update("valley", 2)
    path.mkdir(parents=True)
    assert synchronised(tmp_path).update("valley", 2) is None
    path.rmdir()
    os.mkfifo(path)
    assert synchronised(tmp_path).update("valley", 2) is None


def test_an_oversize_record_or_signature_is_a_matter_of_trust(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    folder = synchronised(tmp_path)
    signed = history.updates["north", 2]
    most = folder.ledger.bounds.record_bytes(signed.key)
    (drop / signed.key).write_bytes(b" " * (most + 1))
    with pytest.raises(TrustError, match=f"more than the {most} bytes"):
        folder.update("north", 2)
    place(drop, replace(signed, signature=b" " * (MAX_SIGNATURE_BYTES + 1)))
    with pytest.raises(TrustError, match=f"more than the {MAX_SIGNATURE_BYTES} bytes"):
        folder.update("north", 2)
    (drop / layout.signature(signed.key, wire.sha256(signed.data))).unlink()
    with pytest.raises(TrustError, match="unsigned: there is no"):
        folder.update("north", 2)
    (drop / signed.key).unlink()
    with pytest.raises(MissingError):
        folder.read(signed.key)


# -------------------------------------------------------------------------------------------------------- artifacts


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


def test_an_artifact_is_copied_once_and_then_private(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    folder = synchronised(tmp_path)
    record = folder.ledger.rounds[1]
    path = folder.global_model(1)
    assert path.read_bytes() == history.artifacts[record.artifact.key]
    assert files(tmp_path / "cache") == [path]
    (drop / record.artifact.key).write_bytes(b"replaced later")
    assert folder.artifacts.fetch(record, record.artifact, EXPECTED) == path
    assert path.read_bytes() == history.artifacts[record.artifact.key]


TAMPERED: dict[str, Any] = {
    "truncated": (lambda content, _: content[:-1], "{less} bytes, expected {size} bytes"),
    "empty": (lambda *_: b"", "0 bytes, expected {size} bytes"),
    "longer": (lambda content, _: content + b"\0", "{more} bytes, expected {size} bytes"),
    "one bit": (lambda content, _: content[:-1] + bytes([content[-1] ^ 1]), "expected by {record}"),
    "one bit of the header": (lambda content, _: bytes([content[0] ^ 1]) + content[1:], "expected by {record}"),
    "noise": (lambda content, _: b"\xff" * len(content), "expected by {record}"),
    "of another site": (lambda _, other: other, "expected by {record}"),
}


@pytest.mark.parametrize(("tamper", "match"), TAMPERED.values(), ids=TAMPERED.keys())
def test_a_tampered_artifact_is_refused_by_its_digest_and_never_kept(
    tmp_path: Path, drop: Path, history: HandmadeHistory, tamper: Any, match: str
) -> None:
    """Not even its header is parsed: the message is that of the size or the digest, whatever the header says."""
    folder = synchronised(tmp_path)
    update = folder.update("north", 1)
    assert update is not None
    key = update.artifact.key
    content = history.artifacts[key]
    other = next(held for name, held in history.artifacts.items() if name.startswith("sites/valley/"))
    assert len(other) == len(content)
    (drop / key).write_bytes(tamper(content, other))
    size = len(content)
    with pytest.raises(TrustError, match=match.format(less=size - 1, more=size + 1, size=size, record=update.key)):
        folder.artifacts.fetch(update, update.artifact, EXPECTED)
    assert files(tmp_path / "cache") == []
    (drop / key).write_bytes(content)
    assert folder.artifacts.fetch(update, update.artifact, EXPECTED).read_bytes() == content


def test_a_missing_artifact_is_named(tmp_path: Path, drop: Path) -> None:
    folder = synchronised(tmp_path)
    update = folder.update("north", 1)
    assert update is not None
    (drop / update.artifact.key).unlink()
    with pytest.raises(TrustError, match=f"{update.artifact.key}: missing, expected .* named by {update.key}"):
        folder.artifacts.fetch(update, update.artifact)


def test_an_oversize_artifact_is_refused_without_being_copied(tmp_path: Path, drop: Path) -> None:
    folder = synchronised(tmp_path)
    update = folder.update("north", 1)
    assert update is not None
    os.truncate(drop / update.artifact.key, 1 << 40)  # a sparse file: reading it would take hours
    with pytest.raises(TrustError, match=f"{1 << 40} bytes, expected {update.artifact.stored_size} bytes"):
        folder.artifacts.fetch(update, update.artifact)
    assert not (tmp_path / "cache").exists()


def test_an_artifact_over_the_plans_cap_is_refused_by_its_record(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    signed = history.updates["north", 2]
    (named,) = json.loads(signed.data)["artifacts"]
    place(drop, changed(signed, "north", artifacts=[named | {"stored_size": 1 << 40, "content_size": 1 << 40}]))
    with pytest.raises(TrustError, match=r"limits\.model_mb"):
        synchronised(tmp_path).update("north", 2)


OTHER_FILES = {
    "missing": (file_of({"layer.weight": np.zeros((2, 3), np.float32)}), "not the federation's model: 2 missing tensors"),
    "retyped": (file_of(model(1.0) | {"layer.bias": np.zeros(3, np.int32)}), "not the federation's model: tensor layer.bias"),
    "not safetensors": (b"no tensors at all", "header"),
    "empty": (b"", "header"),
    "trailing": (file_of(model(1.0)) + b"\0", "the header describes"),
    "cut": (file_of(model(1.0))[:-1], "the header describes"),
}


@pytest.mark.parametrize(("content", "match"), OTHER_FILES.values(), ids=OTHER_FILES.keys())
def test_what_a_site_signed_itself_is_refused_by_its_header(
    tmp_path: Path, drop: Path, history: HandmadeHistory, content: bytes, match: str
) -> None:
    """Size and digest are as its record says, and yet it is not the federation's model."""
    named = artifact(history.updates["north", 2].key, Role.UPDATE, content)
    place(drop, changed(history.updates["north", 2], "north", artifacts=[wire.plain(named)]))
    (drop / named.key).write_bytes(content)
    folder = synchronised(tmp_path)
    update = folder.update("north", 2)
    assert update is not None
    with pytest.raises(TrustError, match=match):
        folder.artifacts.fetch(update, update.artifact, EXPECTED)
    assert files(tmp_path / "cache") == []


def test_a_cached_copy_is_held_against_what_is_expected_now(tmp_path: Path, drop: Path) -> None:
    folder = synchronised(tmp_path)
    update = folder.update("north", 1)
    assert update is not None
    folder.artifacts.fetch(update, update.artifact, EXPECTED)
    larger = tensors.layout_of(model(0.0) | {"layer.extra": np.zeros(1, np.float32)})
    with pytest.raises(TrustError, match=r"not the federation's model: 1 missing tensors, first layer\.extra"):
        folder.artifacts.fetch(update, update.artifact, larger)


def test_forgetting_keeps_what_is_named_and_sweeps_torn_copies(tmp_path: Path, drop: Path) -> None:
    folder = synchronised(tmp_path)
    folder.artifacts.forget()
    first, second = folder.global_model(0), folder.global_model(1)
    (tmp_path / "cache" / ".torn").write_bytes(b"of a process that was killed")
    folder.artifacts.forget(second)
    assert files(tmp_path / "cache") == [second]
    assert folder.global_model(0) == first


def test_a_record_out_of_place_is_refused(tmp_path: Path, drop: Path, history: HandmadeHistory) -> None:
    """A whole valid folder of round 1, copied to where round 2 belongs."""
    shutil.copytree(drop / "coordinator/round-0001", drop / "coordinator/round-0002")
    refused(tmp_path, r"round-0002/round\.json: round: expected 2, found 1")
    shutil.rmtree(drop / "coordinator/round-0002")
    assert synchronised(tmp_path).ledger.newest_round == 1
    place(drop, sign(layout.round_record(2), b"{", "coordinator"))
    refused(tmp_path, r"round-0002/round\.json: the whole: UTF-8 JSON")

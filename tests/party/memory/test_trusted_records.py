"""The checkpoint: it spares work, and decides nothing that the records do not."""

from __future__ import annotations

import shutil
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fedcli import wire
from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.records import Late, Rejected
from fedcli.exchange.store import LocalStore
from fedcli.party.folder import Folder
from fedcli.party.memory.trusted_records import TrustCheckpoint, TrustedRecords
from tests.fixtures.counting_store import Counting
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import CREATED, PLAN
from tests.fixtures.signing import amendment, changed, signer_of
from tests.fixtures.tampering import place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NUM_ROUNDS = 12
LONG = replace(PLAN, rounds=NUM_ROUNDS + 20)


def history_of(rounds: int) -> HandmadeHistory:
    """Return round 0 and so many more, in which valley is absent once, comes late, and is rejected once."""
    made = HandmadeHistory(plan=LONG)
    made.round()
    for number in range(1, rounds + 1):
        away: dict[int, dict[str, Any]] = {
            2: {"absent": ("valley",)},
            4: {"late": (Late(site="valley", round=2, update="a" * 64),)},
            5: {"absent": ("valley",)},
            6: {"rejected": (Rejected(site="valley", update="b" * 64, reason="odd"),)},
        }
        made.round(**away.get(number, {}))
    return made


@pytest.fixture(scope="module")
def history() -> HandmadeHistory:
    return history_of(NUM_ROUNDS)


@pytest.fixture
def root(tmp_path: Path, history: HandmadeHistory) -> Path:
    """A folder with the drop folder of a party that has looked at it once."""
    history.publish(LocalStore(tmp_path / "drop"))
    synchronised(tmp_path)
    return tmp_path


PINNED = signer_of("coordinator").verify_key.fingerprint


def looked(root: Path, coordinator: str | None = PINNED) -> tuple[Folder, Counting]:
    """Begin a command; the stores count what it reads of the drop folder, and of its memory, which is returned too."""
    memory, counting = TrustedRecords(root / "trusted"), Counting(root / "trusted")
    memory.store = counting
    folder = Folder(Counting(root / "drop"), coordinator=coordinator, cache=root / "cache", memory=memory)
    folder.synchronise()
    return folder, counting


def synchronised(root: Path) -> Folder:
    return looked(root)[0]


def verified_again(memory: Counting) -> bool:
    """Tell whether the signatures of old rounds were read from memory."""
    return any(key.startswith("coordinator/round-0003/round.json.") for key in memory.keys)


def altered(root: Path, **values: Any) -> None:
    """Write a checkpoint with other values, as whoever can write in the workspace could."""
    path = root / "trusted/checkpoint"
    checkpoint = wire.decode(TrustCheckpoint, path.read_bytes().partition(b"\n")[2])
    data = wire.encode(replace(checkpoint, **values))
    path.write_bytes(f"{wire.sha256(data)}\n".encode() + data)


def past(root: Path) -> Any:
    return wire.decode(TrustCheckpoint, (root / "trusted/checkpoint").read_bytes().partition(b"\n")[2]).rounds


def test_a_command_with_nothing_to_do_costs_the_same_after_any_number_of_rounds(tmp_path: Path) -> None:
    costs = []
    for rounds in (1, 4, 32):
        root = tmp_path / str(rounds)
        history_of(rounds).publish(LocalStore(root / "drop"))
        synchronised(root)
        folder, memory = looked(root)
        assert folder.ledger.newest_round == rounds
        drop = folder.store
        assert isinstance(drop, Counting)
        costs.append((drop.requests, memory.requests, len(drop.keys), len(memory.keys)))
    assert costs[0] == costs[1] == costs[2]
    assert costs[0][2:] == (4, 4)  # the newest round and federation record, with their signatures


def test_rounds_are_the_same_whether_verified_or_remembered(root: Path, history: HandmadeHistory) -> None:
    verified, resumed = history.ledger().rounds, synchronised(root).ledger.rounds
    assert resumed.past == verified.past
    assert resumed.outstanding == verified.outstanding == ((5, "valley"),)
    assert tuple(resumed) == tuple(verified)
    assert resumed[-1] == verified[NUM_ROUNDS]
    assert resumed[2:4] == verified[2:4]


def test_the_checkpoint_is_private_and_written_once(root: Path) -> None:
    path = root / "trusted/checkpoint"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.stat().st_ino
    assert not verified_again(looked(root)[1])
    assert path.stat().st_ino == before


def test_only_new_rounds_are_verified(tmp_path: Path, history: HandmadeHistory) -> None:
    history.publish(LocalStore(tmp_path / "drop"))
    shutil.move(tmp_path / f"drop/coordinator/round-{NUM_ROUNDS:04d}", tmp_path / "later")
    synchronised(tmp_path)
    shutil.move(tmp_path / "later", tmp_path / f"drop/coordinator/round-{NUM_ROUNDS:04d}")
    folder, memory = looked(tmp_path)
    assert folder.ledger.newest_round == NUM_ROUNDS
    assert not verified_again(memory)
    assert past(tmp_path) == history.ledger().rounds.past


SPOILED: dict[str, Callable[[Path], object]] = {
    "absent": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "not text": lambda path: path.write_bytes(b"\xff\xfe\n\xff"),
    "a digest changed": lambda path: path.write_bytes(_with_other_digit(path.read_bytes(), -400)),
    "its own digest changed": lambda path: path.write_bytes(_with_other_digit(path.read_bytes(), 3)),
    "of another version": lambda path: altered(path.parents[1], fedcli="0.0.1"),
    "of another key": lambda path: altered(path.parents[1], coordinator=signer_of("stranger").verify_key.fingerprint),
    "of another federation": lambda path: altered(path.parents[1], federations=("c" * 64,)),
    "with another newest round": lambda path: altered(
        path.parents[1], rounds=replace(past(path.parents[1]), digests=(*past(path.parents[1]).digests[:-1], "d" * 64))
    ),
    "with a round that nobody remembers": lambda path: altered(
        path.parents[1], rounds=replace(past(path.parents[1]), digests=(*past(path.parents[1]).digests, "d" * 64))
    ),
}


def _with_other_digit(data: bytes, position: int) -> bytes:
    position %= len(data)
    return data[:position] + (b"0" if data[position : position + 1] != b"0" else b"1") + data[position + 1 :]


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_a_checkpoint_that_does_not_hold_is_made_again(root: Path, spoil: Callable[[Path], object]) -> None:
    path = root / "trusted/checkpoint"
    whole = path.read_bytes()
    spoil(path)
    folder, memory = looked(root)
    assert verified_again(memory)
    assert folder.ledger.newest_round == NUM_ROUNDS
    assert path.read_bytes() == whole
    assert not verified_again(looked(root)[1])


def test_an_older_checkpoint_is_brought_up_to_date(root: Path) -> None:
    """A copy from a backup: the rounds after it are verified again, from memory."""
    path = root / "trusted/checkpoint"
    whole = path.read_bytes()
    older = history_of(5).ledger().rounds.past
    altered(root, rounds=older)
    _, memory = looked(root)
    assert not verified_again(memory)
    assert any(key.startswith("coordinator/round-0007/round.json.") for key in memory.keys)
    assert path.read_bytes() == whole


def test_a_checkpoint_that_lies_about_an_old_round_is_found_out_when_that_is_used(root: Path) -> None:
    path = root / "trusted/checkpoint"
    whole, rounds = path.read_bytes(), past(root)
    altered(root, rounds=replace(rounds, digests=(*rounds.digests[:3], "d" * 64, *rounds.digests[4:])))
    with pytest.raises(TrustError, match=r"^coordinator/round-0003/round\.json: in .*: expected SHA-256 d{12}, ") as caught:
        synchronised(root).ledger.rounds[3]
    assert "run the command again" in (caught.value.hint or "")
    assert not path.exists()
    assert synchronised(root).ledger.rounds[3].record.round == 3
    assert path.read_bytes() == whole


def test_a_key_that_is_not_pinned_has_a_checkpoint_of_its_own(root: Path) -> None:
    assert verified_again(looked(root, coordinator=None)[1])
    assert not verified_again(looked(root, coordinator=None)[1])
    assert verified_again(looked(root)[1])


def test_a_new_federation_record_leaves_the_rounds_verified(root: Path, history: HandmadeHistory) -> None:
    place(root / "drop", amendment(history.federation, NUM_ROUNDS + 1))
    assert len(synchronised(root).ledger.federations) == 2
    folder, memory = looked(root)
    assert len(folder.ledger.federations) == 2
    assert not verified_again(memory)


# -------------------------------------------------------------------------------------------- attacks by the store


def an_attack_of_another_past(drop: Path, history: HandmadeHistory) -> None:
    for number in (0, 3):
        place(drop, changed(history.rounds[number], "coordinator", created=CREATED.replace(hour=9).isoformat()))


def an_attack_of_a_missing_past(drop: Path, history: HandmadeHistory) -> None:
    for number in range(len(history.rounds) - 1):
        shutil.rmtree(drop / f"coordinator/round-{number:04d}")


def an_attack_of_a_checkpoint_in_the_drop_folder(drop: Path, history: HandmadeHistory) -> None:
    del history
    for name in ("checkpoint", "coordinator/checkpoint", "coordinator/checkpoint.json"):
        (drop / name).write_bytes(b"{}")


def an_attack_of_a_fork(drop: Path, history: HandmadeHistory) -> None:
    place(drop, changed(history.rounds[-1], "coordinator", created=CREATED.replace(hour=9).isoformat()))


def an_attack_of_a_rollback(drop: Path, history: HandmadeHistory) -> None:
    del history
    shutil.rmtree(drop / f"coordinator/round-{NUM_ROUNDS:04d}")


def an_attack_of_an_emptied_folder(drop: Path, history: HandmadeHistory) -> None:
    del history
    shutil.rmtree(drop / "coordinator")
    (drop / "sites/north").mkdir(parents=True, exist_ok=True)


def an_attack_of_a_gap(drop: Path, history: HandmadeHistory) -> None:
    key = layout.round_record(NUM_ROUNDS + 2)
    place(drop, changed(replace(history.rounds[-1], key=key), "coordinator", round=NUM_ROUNDS + 2))


UNSEEN = [an_attack_of_another_past, an_attack_of_a_missing_past, an_attack_of_a_checkpoint_in_the_drop_folder]
REFUSED = [an_attack_of_a_fork, an_attack_of_a_rollback, an_attack_of_an_emptied_folder, an_attack_of_a_gap]


@pytest.mark.parametrize("attack", UNSEEN + REFUSED)
def test_what_the_store_does_changes_nothing_in_memory(
    root: Path, history: HandmadeHistory, attack: Callable[[Path, HandmadeHistory], None]
) -> None:
    before = {path: path.read_bytes() for path in (root / "trusted").rglob("*") if path.is_file()}
    attack(root / "drop", history)
    for _ in range(2):
        if attack in REFUSED:
            with pytest.raises(TrustError):
                synchronised(root)
        else:
            assert tuple(synchronised(root).ledger.rounds) == tuple(history.ledger().rounds)
    assert {path: path.read_bytes() for path in (root / "trusted").rglob("*") if path.is_file()} == before


def test_verify_and_whoever_has_no_memory_sees_the_whole_past(root: Path, history: HandmadeHistory) -> None:
    an_attack_of_another_past(root / "drop", history)
    folder = Folder(LocalStore(root / "drop"), coordinator=None, cache=root / "cache")
    with pytest.raises(TrustError):
        folder.synchronise()

"""Updates of closed rounds are verified once by whoever looks again and again."""

from __future__ import annotations

import shutil
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli.exchange import layout
from fedcli.exchange.store import LocalStore
from fedcli.party.folder import Folder
from fedcli.party.history.history_reader import read_history
from fedcli.party.memory import remembered_updates
from fedcli.party.memory.trusted_records import TrustedRecords
from tests.fixtures.counting_store import Counting
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import PLAN, SITES
from tests.fixtures.signing import changed, signer_of
from tests.fixtures.tampering import place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.exchange.history import History

NUM_ROUNDS = 4
PINNED = signer_of("coordinator").verify_key.fingerprint


@pytest.fixture(scope="module")
def history() -> HandmadeHistory:
    made = HandmadeHistory(plan=replace(PLAN, rounds=NUM_ROUNDS + 5))
    made.round()
    for number in range(1, NUM_ROUNDS + 1):
        for site in SITES:
            made.update(site, number)
        made.round()
    made.update("north", NUM_ROUNDS + 1)
    return made


@pytest.fixture
def root(tmp_path: Path, history: HandmadeHistory) -> Path:
    """A folder with the drop folder of a party that has looked at it once."""
    history.publish(LocalStore(tmp_path / "drop"))
    looked(tmp_path)
    return tmp_path


def looked(root: Path, coordinator: str | None = PINNED) -> tuple[History, int]:
    """Look as `status` does; return also how many updates were read from the drop folder."""
    store = Counting(root / "drop")
    memory = TrustedRecords(root / "trusted")
    history, _ = read_history(Folder(store, coordinator=coordinator, cache=root / "cache", memory=memory), remembering=True)
    return history, sum(key.endswith("/update.json") for key in store.keys)


def test_only_updates_of_the_open_round_are_read_again(root: Path, history: HandmadeHistory) -> None:
    again, read = looked(root)
    assert read == 1
    assert again == read_history(Folder(LocalStore(root / "drop"), coordinator=PINNED, cache=root / "cache"))[0]
    assert again.updates == history.history.updates
    assert again.problems == ()
    files = list((root / "trusted/updates").iterdir())
    assert sorted(path.name for path in files) == list(SITES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_new_round_adds_its_updates(tmp_path: Path, history: HandmadeHistory) -> None:
    history.publish(LocalStore(tmp_path / "drop"))
    shutil.move(tmp_path / f"drop/coordinator/round-{NUM_ROUNDS:04d}", tmp_path / "later")
    assert looked(tmp_path)[1] == len(history.updates)
    shutil.move(tmp_path / "later", tmp_path / f"drop/coordinator/round-{NUM_ROUNDS:04d}")
    assert looked(tmp_path)[1] == len(SITES) + 1
    assert looked(tmp_path)[1] == 1


def test_each_update_is_appended_once(root: Path) -> None:
    for path in (root / "trusted/updates").iterdir():
        assert len(path.read_bytes().splitlines()) == NUM_ROUNDS + 1


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[:-30],
    "changed": lambda data: data.replace(b'"kappa": 0.5', b'"kappa": 0.9', 1),
    "not text": lambda data: data + b"\xff\n",
    "of another version": lambda data: _resigned(data, b'"fedcli": "', b'"fedcli": "9'),
    "of another key": lambda data: _resigned(data, b"SHA256:", b"SHA256:x"),
}


def _resigned(data: bytes, before: bytes, after: bytes) -> bytes:
    """Return a file whose first line says something else, with its digest."""
    first, rest = data.split(b"\n", 1)
    line = first.partition(b" ")[2].replace(before, after, 1) + b"\n"
    return remembered_updates._closed(line) + rest  # noqa: SLF001


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_a_file_that_does_not_hold_is_made_again(root: Path, history: HandmadeHistory, spoil: Callable[[bytes], bytes]) -> None:
    path = root / "trusted/updates/north"
    whole = path.read_bytes()
    path.write_bytes(spoil(whole))
    again, read = looked(root)
    assert (read, again.updates) == (NUM_ROUNDS + 1, history.history.updates)
    assert path.read_bytes() == whole
    assert looked(root)[1] == 1


def test_an_update_that_is_gone_is_missed(root: Path) -> None:
    key = layout.update("north", 2)
    shutil.rmtree((root / "drop" / key).parent)
    for _ in range(2):
        history, _ = looked(root)
        assert [problem.key for problem in history.problems] == [key]
        assert ("north", 2) not in history.updates


def test_an_update_that_its_site_replaced_is_noticed(root: Path, history: HandmadeHistory) -> None:
    key = layout.update("north", 2)
    shutil.rmtree((root / "drop" / key).parent)
    place(root / "drop", changed(history.updates["north", 2], "north", norm=99.0))
    for _ in range(2):
        assert [problem.key for problem in looked(root)[0].problems] == [key]


def test_an_update_that_was_verified_for_another_past_does_not_count(root: Path, history: HandmadeHistory) -> None:
    """A party whose records were replaced, by the recovery key for instance."""
    memory = TrustedRecords(root / "trusted")
    ledger = history.ledger()
    assert sorted(memory.updates(ledger, "north")) == [1, 2, 3, 4]
    other = history.ledger(2)
    other.add_round(changed(history.rounds[2], "coordinator", created="2026-11-24T20:00:00Z"))
    other.add_round(changed(history.rounds[3], "coordinator", parent=other.rounds.digests[2]))
    assert sorted(memory.updates(other, "north")) == [1, 2]
    memory.forget_checkpoint()
    assert memory.updates(ledger, "north") == {}

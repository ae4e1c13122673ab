"""A checkpoint is complete, and only its own training uses it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli.learning.training.checkpoint import Checkpoint, Snapshot, TrainingIdentity
from fedcli.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = TrainingIdentity(plan="0" * 64, start="1" * 64, data="2" * 64, device="cpu", threads=2, versions="torch 2.6.0")
SNAPSHOT = Snapshot(
    epoch=3, step=5, seconds=12.5, losses=(1.5, 0.1 + 0.2), weights={"a.weight": np.ones((2, 3), np.float32), "n": np.array(7)},
    optimizer_state={"a.weight:step": np.array(3, np.float32)},
)  # fmt: skip


class Listener(Silent):
    """Hears events."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def event(self, text: str) -> None:
        self.heard.append(text)


def opened(folder: Path, origin: TrainingIdentity = ORIGIN) -> tuple[Checkpoint, list[str]]:
    listener = Listener()
    return Checkpoint(folder, origin, listener), listener.heard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a checkpoint, and the best model beside it."""
    place = tmp_path / "round-0001"
    checkpoint, heard = opened(place)
    assert checkpoint.snapshot is None
    assert heard == []
    checkpoint.write(replace(SNAPSHOT, step=4, losses=(1.5,)))
    checkpoint.write(SNAPSHOT)
    (place / "best.json").write_text("{}")
    return place


def test_what_was_written_is_found(folder: Path) -> None:
    checkpoint, heard = opened(folder)
    snapshot = checkpoint.snapshot
    assert snapshot is not None
    assert (snapshot.epoch, snapshot.step, snapshot.seconds, snapshot.losses) == (3, 5, 12.5, SNAPSHOT.losses)
    for mine, theirs in ((snapshot.weights, SNAPSHOT.weights), (snapshot.optimizer_state, SNAPSHOT.optimizer_state)):
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[name], theirs[name]) and mine[name].dtype == theirs[name].dtype for name in mine)
    assert heard == ["round-0001: resuming from epoch 3, step 5"]
    assert len(list(folder.glob("checkpoint-*.safetensors"))) == 1
    assert (folder / "best.json").is_file()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"threads": 1}, "threads 2, now 1"),
        ({"plan": "9" * 64}, f"plan {'0' * 12}, now {'9' * 12}"),
        ({"start": "9" * 64}, f"start {'1' * 12}, now {'9' * 12}"),
        ({"data": "9" * 64}, f"data {'2' * 12}, now {'9' * 12}"),
        ({"device": "cpu, bfloat16"}, "device cpu, now cpu, bfloat16"),
        ({"versions": "torch 3"}, "versions torch 2.6.0, now torch 3"),
    ],
)
def test_another_trainings_checkpoint_is_not_used_and_told(folder: Path, change: dict[str, Any], told: str) -> None:
    checkpoint, heard = opened(folder, replace(ORIGIN, **change))
    assert checkpoint.snapshot is None
    assert heard == [f"round-0001: starting again, the interrupted training had {told}"]
    assert list(folder.iterdir()) == []  # the best model so far was that training's


def test_damage_is_found(folder: Path) -> None:
    (path,) = folder.glob("checkpoint-*.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    checkpoint, heard = opened(folder)
    assert checkpoint.snapshot is None
    assert "is damaged" in heard[0]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": "fedcli-checkpoint-2"}'])
def test_a_description_that_cannot_be_read_is_not_used(folder: Path, content: bytes) -> None:
    (folder / "checkpoint.json").write_bytes(content)
    checkpoint, heard = opened(folder)
    assert checkpoint.snapshot is None
    assert "cannot be read" in heard[0]


def test_cut_off_between_its_two_files_the_one_before_holds(folder: Path) -> None:
    """Tensors come first, and the older ones go last."""
    facts = (folder / "checkpoint.json").read_bytes()
    (older,) = folder.glob("checkpoint-*.safetensors")
    kept = older.read_bytes()
    opened(folder)[0].write(replace(SNAPSHOT, step=6, losses=(1.0, 2.0, 3.0)))
    older.write_bytes(kept)
    (folder / "checkpoint.json").write_bytes(facts)
    (folder / ".checkpoint").write_bytes(b"half a file")
    checkpoint, _ = opened(folder)
    assert checkpoint.snapshot is not None
    assert checkpoint.snapshot.step == 5
    checkpoint.write(SNAPSHOT)
    assert sorted(path.name for path in folder.iterdir()) == ["best.json", older.name, "checkpoint.json"]


def test_it_is_due_after_the_interval(tmp_path: Path) -> None:
    now = [0.0]
    checkpoint = Checkpoint(tmp_path / "kept", ORIGIN, Silent(), interval=300, clock=lambda: now[0])
    now[0] = 299
    assert not checkpoint.is_due()
    now[0] = 300
    assert checkpoint.is_due()
    checkpoint.write(SNAPSHOT)
    assert not checkpoint.is_due()


def test_it_goes_when_the_training_is_done(folder: Path) -> None:
    opened(folder)[0].remove()
    assert not folder.exists()

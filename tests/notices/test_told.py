"""One event once; a state when it begins, then daily, and again when it begins again."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from fedcli.notices.told import Told

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)


def told_when(root: Path, *, once: bool) -> list[float]:
    """Run every quarter of an hour for three days; return after how many hours a thing that lasts was told."""
    hours = []
    for quarter in range(3 * 96):
        told, moment = Told(root), NOW + timedelta(minutes=15 * quarter)
        if told.due("overdue: round 3", "email", moment, once=once):
            told.mark("overdue: round 3", "email", moment)
            hours.append(quarter / 4)
        told.end(["overdue: "], ["overdue: round 3"])
        told.save()
    return hours


def test_a_state_is_told_daily_and_an_event_once(tmp_path: Path) -> None:
    assert told_when(tmp_path / "state", once=False) == [0, 24, 48]
    assert told_when(tmp_path / "event", once=True) == [0]


def test_every_channel_counts_on_its_own(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.mark("failed: x", "email", NOW)
    assert not told.due("failed: x", "email", NOW, once=False)
    assert told.due("failed: x", "webhook", NOW, once=False)


def test_what_ends_is_told_when_it_begins_again(tmp_path: Path) -> None:
    told = Told(tmp_path)
    for key in ("overdue: round 3", "failed: train-round: x", "your turn: y"):
        told.mark(key, "email", NOW)
    told.end(["overdue: ", "your turn: "], ["your turn: y"])
    told.save()
    again = Told(tmp_path)
    later = NOW + timedelta(hours=1)
    due = {
        key: again.due(key, "email", later, once=False) for key in ("overdue: round 3", "failed: train-round: x", "your turn: y")
    }
    assert due == {"overdue: round 3": True, "failed: train-round: x": False, "your turn: y": False}
    assert again.lasting("failed: ", NOW) == ("failed: train-round: x",)
    assert again.lasting("failed: ", later) == ()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b'{"looked": null}', b'{"looked": 3, "tellings": []}'])
def test_a_damaged_file_means_that_nothing_was_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "told.json").write_bytes(content)
    told = Told(tmp_path)
    assert told.due("x", "email", NOW, once=True)
    told.mark("x", "email", NOW)
    told.save()
    assert not Told(tmp_path).due("x", "email", NOW, once=True)


def test_a_folder_in_its_place_means_that_nothing_was_told(tmp_path: Path) -> None:
    (tmp_path / "told.json").mkdir()
    assert Told(tmp_path).due("x", "email", NOW, once=True)


def test_it_is_private_and_written_only_where_something_changes(tmp_path: Path) -> None:
    path = tmp_path / "told.json"
    Told(tmp_path).save()
    assert not path.exists()
    told = Told(tmp_path)
    told.mark("x" * 1000, "email", NOW)
    told.mark("x" * 999 + "y", "email", NOW)
    told.save()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.stat().st_mtime_ns
    told = Told(tmp_path)
    told.mark("x" * 1000, "email", NOW)
    told.save()
    assert path.stat().st_mtime_ns == before
    assert not told.due("x" * 999 + "y", "email", NOW, once=True)
    assert told.due("x" * 998 + "zz", "email", NOW, once=True)


def test_a_clock_that_was_ahead_silences_nothing(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.mark("x", "email", NOW + timedelta(days=400))
    assert told.due("x", "email", NOW, once=False)

"""The log of what left: every file once, whenever a command dies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli import wire
from fedcli.errors import ConfigurationError
from fedcli.exchange.sent_log import Sent, SentLog
from fedcli.exchange.store import LocalStore
from tests.fixtures.killing import killed_everywhere
from tests.fixtures.outbox_entries import NAME, SIGNER, contents, draft_of, outbox_of

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.disk import Measured

MOMENT = datetime(2026, 11, 24, 8, tzinfo=UTC)
LOG = "sent.log"


def line(key: str, data: bytes = b"", moment: datetime = MOMENT) -> Sent:
    return Sent(moment=moment, key=key, bytes=len(data), sha256=wire.sha256(data), command="train-round")


def run(workspace: Path, attempt: str) -> None:
    """Run a command: finish what the outbox holds, else work."""
    log, outbox, store = SentLog(workspace / LOG), outbox_of(workspace), LocalStore(workspace / "drop")

    def sent(key: str, file: Measured) -> None:
        log.add(Sent(moment=MOMENT, key=key, bytes=file.size, sha256=file.sha256, command=attempt))

    if not outbox.pending() and not (workspace / "state" / NAME).exists():
        outbox.commit(*draft_of(outbox, attempt), SIGNER)
    for name in outbox.pending():
        outbox.publish(name, store, sent)


def said(folder: Path) -> list[tuple[str, int, str]]:
    return [(item.key, item.bytes, item.sha256) for item in SentLog(folder / LOG).lines()]


def test_killed_anywhere_everything_that_left_is_logged_once(tmp_path: Path) -> None:
    folders = killed_everywhere(tmp_path, lambda folder: run(folder, "first"))
    cut_off = 0
    for folder in folders:
        logged = {key for key, _, _ in said(folder)}
        left = contents(folder / "drop").keys()
        assert logged <= left
        assert len(left - logged) <= 1, "one file at most has left without a line, and its entry still waits"
        assert left == logged or outbox_of(folder).pending() == (NAME,)
        cut_off += left != logged
        for attempt in ("second", "third"):
            run(folder, attempt)
            lines = said(folder)
            assert sorted(lines) == sorted((key, len(data), wire.sha256(data)) for key, data in contents(folder / "drop").items())
    assert cut_off >= 5, "there is a moment between each file and its line"


def test_a_file_sent_twice_is_logged_once_and_other_bytes_anew(tmp_path: Path) -> None:
    first, again, other = line("a", b"1"), line("a", b"1", MOMENT + timedelta(hours=1)), line("a", b"2")
    for item in (first, again, other, again):
        SentLog(tmp_path / LOG).add(item)
    assert SentLog(tmp_path / LOG).lines() == (first, other)


@given(cut=st.integers(min_value=1))
def test_a_line_that_is_cut_off_is_none_and_the_next_one_is_whole(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("log") / LOG
    lines = [line("a"), line("b")]
    for item in lines:
        SentLog(path).add(item)
    data = path.read_bytes()
    path.write_bytes(data[: -(cut % len(data.split(b"\n")[1]) + 1)])
    assert SentLog(path).lines() == (lines[0],)
    for item in reversed(lines):
        SentLog(path).add(item)
    assert path.read_bytes() == data


def test_what_is_no_log_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / LOG
    path.write_text("edited by hand\n")
    with pytest.raises(ConfigurationError, match="not a log of sent files"):
        SentLog(path).add(line("a"))
    assert path.read_text() == "edited by hand\n"

"""What `fedcli status` shows: at once, live on a terminal, and as lines for other programs."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from fedcli.cli import status_view
from fedcli.cli.status import follow
from fedcli.operations.status.watch import watch
from tests.fixtures.command import COMMAND, run, succeed

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.operations.status.federation_state import StatusResult
    from tests.fixtures.federation import Federation

PATIENCE = 60


def seen(federation: Federation) -> StatusResult:
    return federation.status()


def shown(federation: Federation, width: int = 80, result: StatusResult | None = None) -> str:
    out = Console(file=io.StringIO(), width=width)
    status_view.show(out, result or seen(federation), federation.clock())
    return out.file.getvalue()


def cells(text: str, first: str) -> list[str]:
    """Return a table's row by its first cell."""
    row = next(line for line in text.splitlines() if line.startswith(f"│ {first} "))
    return [cell.strip() for cell in row.strip("│").split("│")]


class Crowd:
    """A federation's result with as many members as wanted, in the same standings by turns."""

    def __init__(self, result: StatusResult, num_sites: int) -> None:
        names = [f"hospital-{number:02d}" for number in range(num_sites)]
        self.result = replace(
            result,
            sites=tuple(replace(result.sites[index % 2], site=name) for index, name in enumerate(names)),
            matrix=tuple(
                replace(
                    row,
                    sites=tuple(replace(row.sites[index % 2], site=name) for index, name in enumerate(names))
                    if row.sites
                    else (),
                )
                for row in result.matrix
            ),
        )


# ------------------------------------------------------------------------------------------------------------ one look


def test_rounds_and_sites(begun: Federation) -> None:
    begun.train("north")
    begun.clock.pass_hours(3)
    text = shown(begun)
    kappa = f"✓ {seen(begun).sites[0].last_kappa:.2f}"
    assert "round 1 has been open since 2026-11-24 08:00 UTC, 3 h ago" in text
    assert "awaited since 2026-11-24 08:00 UTC, 3 h ago: valley" in text
    assert "deadline" not in text
    assert cells(text, "1") == ["1", "open", kappa, "awaited", "—"]
    assert cells(text, "valley") == ["valley", "0", "—", "—", "—", "no"]


def test_sites_awaited_since_the_same_minute_share_a_line(begun: Federation) -> None:
    result = seen(begun)
    opened = result.matrix[-1]
    later = replace(opened.sites[1], since=begun.clock() + timedelta(seconds=40))
    crowd = replace(result, matrix=(replace(opened, sites=(opened.sites[0], later)),))
    begun.clock.pass_hours(1.2)
    assert "awaited since 2026-11-24 08:00 UTC, 72 min ago: north, valley\n" in shown(begun, 100, crowd)


def test_the_deadline_is_shown_in_utc_and_relative_to_now(begun: Federation) -> None:
    deadline = begun.clock() + timedelta(hours=24)
    result = replace(seen(begun), deadline=deadline)
    assert "; deadline 2026-11-25 08:00 UTC, in 24 h\n" in shown(begun, 200, result)
    begun.clock.pass_hours(72)
    assert "deadline 2026-11-25 08:00 UTC, passed 2 days ago\n" in shown(begun, 200, replace(result, overdue=True))


def test_reasons_stand_below_the_rounds(begun: Federation) -> None:
    begun.train("north")
    begun.aggregate(valley="its scanner [is] being moved")
    text = shown(begun)
    assert cells(text, "1")[3] == "excused"
    assert "round 1: valley is excused: its scanner [is] being moved" in text


def test_what_does_not_hold_is_said_once(trained: Federation) -> None:
    path = trained.drop / "sites/valley/round-0001/update.json"
    path.write_bytes(path.read_bytes().replace(b"valley", b"walley", 1))
    assert shown(trained, 1000).count("sites/valley/round-0001/update.json: unsigned") == 1


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("num_sites", [2, 3, 5, 12, 30])
def test_nothing_is_cut_off(begun: Federation, num_sites: int, width: int) -> None:
    """Where sites do not fit side by side, those that are not in are named."""
    begun.train("north")
    crowd = Crowd(seen(begun), num_sites).result
    text = shown(begun, width, crowd)
    table = text[text.index("Newest rounds") : text.index("Sites")]
    assert max(map(len, table.splitlines())) <= width
    assert "…" not in table
    if num_sites * 11 > width:
        assert f"{(num_sites + 1) // 2} of {num_sites}" in table
        assert "hospital-01" in table


def test_json_keys_are_stable(trained: Federation) -> None:
    found = succeed("status", trained.drop)
    assert list(found) == [
        "command", "status", "message", "name", "drop", "coordinator", "confirmed", "round", "rounds", "open_round", "awaited",
        "waiting_since", "deadline", "applicants", "renewed", "sites", "history", "problems", "overdue", "matrix", "turns",
        "curves", "dates", "advice", "testers", "expected_end",
    ]  # fmt: skip
    assert list(found["sites"][0]) == [
        "site", "enrolled", "updates", "last_round", "last_kappa", "in_open_round", "models", "evaluated", "epsilon",
    ]  # fmt: skip
    assert list(found["matrix"][1]) == ["round", "created", "kappa", "sites", "restart"]
    assert list(found["matrix"][1]["sites"][0]) == ["site", "standing", "kappa", "since", "reason"]
    assert (found["confirmed"], succeed("status", "-C", trained.site("north"))["confirmed"]) == (False, True)
    assert found["turns"] == [{"parties": ["coordinator"], "command": "fedcli aggregate -C WORKSPACE", "occasion": ""}]


def test_the_last_line_is_what_to_type(trained: Federation) -> None:
    done = run("status", "-C", trained.coordinator)
    last = done.stdout.splitlines()[-1]
    assert last == f"Your turn: fedcli aggregate -C {trained.coordinator}"
    assert run(*last.partition("fedcli ")[2].split()).returncode == 0
    assert succeed("status", trained.drop)["round"] == 1


# ---------------------------------------------------------------------------------------------------------------- watch


def followed(
    federation: Federation, *steps: Callable[[], object], terminal: bool = False, as_json: bool = False, height: int = 40
) -> tuple[str, str]:
    """Follow a federation through steps, then interrupt; return what was written to stdout and to stderr."""
    pending = iter(steps)

    def sleep(seconds: float) -> None:
        federation.clock.pass_hours(seconds / 3600)
        step = next(pending, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    out = Console(file=io.StringIO(), force_terminal=terminal, width=100, height=height, color_system=None, _environ={})
    err = Console(file=io.StringIO(), width=100)
    follow(watch(lambda: seen(federation), clock=federation.clock, sleep=sleep, seconds=30), out, err, as_json=as_json)
    return out.file.getvalue(), err.file.getvalue()


def nothing() -> None:
    """Let time pass."""


def test_elsewhere_than_on_a_terminal_a_line_for_every_change(begun: Federation) -> None:
    away = begun.root / "unmounted"
    out, err = followed(
        begun, nothing, lambda: begun.train("north"), lambda: begun.drop.rename(away), nothing, lambda: away.rename(begun.drop)
    )
    command = "fedcli train-round -C WORKSPACE"
    assert out.splitlines() == [
        f"2026-11-24 {moment} UTC test: round 0 of 2, round 1 has {number} of 2 updates. Turn of {sites}: {command}"
        for moment, number, sites in (("08:00:00", 0, "north, valley"), ("08:01:00", 1, "valley"), ("08:02:30", 1, "valley"))
    ]
    assert err.count("the drop folder is not there") == 1


def test_json_is_one_object_a_line(begun: Federation, capsys: pytest.CaptureFixture[str]) -> None:
    away = begun.root / "unmounted"
    steps = (nothing, lambda: begun.train("north"), lambda: begun.drop.rename(away), lambda: away.rename(begun.drop))
    followed(begun, *steps, terminal=True, as_json=True)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["status"] for item in found] == ["waiting", "waiting", "error", "waiting"]
    assert [item["awaited"] for item in found if "awaited" in item] == [["north", "valley"], ["valley"], ["valley"]]


def test_a_terminal_shows_the_newest_state_and_keeps_it(begun: Federation) -> None:
    away = begun.root / "unmounted"
    out, _ = followed(begun, lambda: begun.train("north"), lambda: begun.drop.rename(away), terminal=True)
    screens, _, kept = out.partition("\x1b[?1049l")
    frames = screens.split("last look ")
    assert [frame[:23] for frame in frames[1:]] == [f"2026-11-24 08:0{moment} UTC" for moment in ("0:00", "0:30", "1:00")]
    assert "cannot be read now" in frames[2]
    assert "Turn of valley: fedcli train-round -C WORKSPACE" in frames[2]
    assert kept.rstrip().endswith("Turn of valley: fedcli train-round -C WORKSPACE")
    assert "Newest rounds" in kept


@pytest.mark.parametrize("height", [8, 14, 20, 26, 60])
def test_a_low_terminal_keeps_the_message_and_the_time(begun: Federation, height: int) -> None:
    crowd = Crowd(seen(begun), 30).result
    console = Console(file=io.StringIO(), width=100, height=height)
    view = status_view.screen(console, crowd, begun.clock(), status_view.Text("last look"))
    lines = ["".join(part.text for part in line) for line in console.render_lines(view)]
    assert len(lines) <= height
    assert lines[-1].startswith("last look")
    assert lines[-2].startswith("Turn of north, valley: ")
    assert any("Sites" in line for line in lines) == (height == 60)


def test_interrupted_by_the_keyboard_it_leaves_with_0_and_the_last_state(begun: Federation) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm", COLUMNS="100", LINES="40")
        os.execv(sys.executable, [*COMMAND, "status", str(begun.drop), "--watch"])  # noqa: S606
    written = b""
    try:
        while b"last look " not in written:
            ready, _, _ = select.select([terminal], [], [], PATIENCE)
            assert ready, written
            written += os.read(terminal, 1 << 16)
        os.write(terminal, b"\x03")
        written = read_all(terminal)
    finally:
        os.close(terminal)
        _, ended = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(ended) == 0
    assert written.decode().rstrip().endswith("Turn of north, valley: fedcli train-round -C WORKSPACE")


def read_all(terminal: int) -> bytes:
    """Read until the process has closed its side, which Linux reports as an error."""
    written = b""
    while True:
        ready, _, _ = select.select([terminal], [], [], PATIENCE)
        assert ready, written
        try:
            chunk = os.read(terminal, 1 << 16)
        except OSError:
            return written
        written += chunk


def test_a_first_look_that_fails_has_its_exit_code(begun: Federation) -> None:
    done = run("status", begun.root / "nowhere", "--watch", "--json")
    assert done.returncode == 5
    assert json.loads(done.stdout)["error"] == "StoreError"


def test_moments_are_utc() -> None:
    assert status_view.utc(datetime(2026, 3, 2, 8, 5, tzinfo=UTC)) == "2026-03-02 08:05 UTC"

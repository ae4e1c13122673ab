"""Text of others that would hide rows, clear a screen, set a link, forge a line of a log or run in a spreadsheet."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from rich.text import Text

from fedcli import wire
from fedcli.cli.render import Narrator, Terminal, print_json, print_table
from fedcli.exchange import layout
from fedcli.exchange.records import Rejected
from fedcli.plan import Plan
from fedcli.reporting import model_card
from fedcli.reporting.csv_tables import csv_tables
from fedcli.reporting.report_data import gather
from fedcli.reporting.report_files import render
from fedcli.text.visible_text import hidden
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import PLAN
from tests.fixtures.tampering import rewrite
from tests.operations.attacked import refused_unread, sent

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.history import History
    from tests.fixtures.federation import Federation

KEY = layout.update("valley", 1)
ATTACKS = {
    "clears the screen": "\x1b[2J\x1b[H",
    "sets a link": "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
    "one byte": "\x9b2J",
    "forges a line": "\n2026-11-28 23:00:00,000 INFO aggregate: published",
    "returns": "\rverified",
    "reorders": "\u202etxt.exe\u2066",
    "separates lines": "a\u2028b",
    "hides": "north\u200b",
    "tags": "a\U000e0041",
}
attacked = pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)


@attacked
@pytest.mark.parametrize("field", ["name", "classes", "dense"])
def test_a_plan_that_hides_rows_of_the_approval_table_is_refused(text: str, field: str) -> None:
    mapping: dict[str, Any] = wire.plain(PLAN)
    if field == "dense":
        mapping["evaluation"]["dense"] = [text]
    else:
        mapping[field] = text if field == "name" else ["a", text]
    with pytest.raises(wire.MalformedError, match=r"U\+[0-9A-F]{4,5} at position") as caught:
        wire.decode(Plan, json.dumps(mapping).encode())
    assert field in str(caught.value)
    assert hidden(str(caught.value)) is None


@attacked
def test_an_artifact_key_of_other_characters_is_refused_and_not_copied(tmp_path: Path, text: str) -> None:
    federation = sent(tmp_path)
    artifact = json.loads((federation.drop / KEY).read_bytes())["artifacts"][0]
    rewrite(federation, KEY, artifacts=[artifact | {"key": f"sites/valley/{text}"}])
    reason = refused_unread(federation)
    assert "artifacts.0.key: should be a key of the drop folder" in reason
    assert hidden(reason) is None


@attacked
def test_a_device_or_version_of_other_characters_is_refused(tmp_path: Path, text: str) -> None:
    federation = sent(tmp_path)
    rewrite(federation, KEY, device=f"cpu{text}")
    reason = refused_unread(federation)
    assert "device: should have no control, format or bidirectional character" in reason
    assert hidden(reason) is None


def test_a_reason_is_signed_without_hidden_characters(tmp_path: Path) -> None:
    federation: Federation = sent(tmp_path)
    result = federation.aggregate(valley="on leave\x1b[2J\n2026 INFO all well")
    assert result.rejected[0].reason == r"on leave\x1b[2J\x0a2026 INFO all well"


@attacked
def test_a_record_cannot_hold_such_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"U\+"):
        Rejected(site="valley", update=None, reason=f"x{text}")


@attacked
def test_a_terminal_and_a_log_show_them_by_their_code(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    console = Terminal(file=io.StringIO(), force_terminal=True, width=40, color_system=None)
    narrator = Narrator(console, tmp_path / "log")
    narrator.event(f"late file of {text} is rejected")
    print_table(console, "Plan", ("setting", "value"), [("classes", f"a, {text}"), ("rounds", "300")])
    console.print(Text(f"reason: {text}".replace("\n", "")), soft_wrap=True)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert hidden(printed.replace("\n", "")) is None
    assert not [line for line in printed.splitlines() if line.startswith("2026")]
    assert "300" in printed
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert hidden(line) is None
    print_json("status", {"text": text})
    shown = capsys.readouterr().out
    assert hidden(shown.removesuffix("\n")) is None
    assert json.loads(shown)["text"] == text


@attacked
def test_pages_card_and_tables_show_them_by_their_code(text: str) -> None:
    build = HandmadeHistory(("east",), Plan(name="pilot", rounds=1))
    build.round()
    history: History = build.history
    report = gather(history, f"verified {text}", "best")
    assert report.chosen is not None
    page, card = render(report, ()), model_card.render(report, report.chosen)
    for written in (page, card, *(table.text for table in csv_tables(report))):
        assert hidden(written.replace("\n", "")) is None

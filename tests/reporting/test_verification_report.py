"""`verify --report` writes every check with its result, through the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fedcli.exchange import layout
from tests.fixtures.command import run, succeed
from tests.fixtures.federation import SITES, begun_by_hand
from tests.fixtures.tampering import artifact_path, flip, rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.federation import Federation


def checked(federation: Federation, file: Path, *words: str) -> dict[str, Any]:
    """Verify from the command line, and return the report."""
    run("verify", federation.drop, "--coordinator-key", federation.fingerprint, "--report", file, *words)
    report: dict[str, Any] = json.loads(file.read_bytes())
    return report


def results(report: dict[str, Any], key: str) -> list[tuple[str, str]]:
    return [(item["check"].split(":")[0], item["result"]) for item in report["checks"] if item["file"] == key]


def two_rounds(root: Path) -> Federation:
    federation = begun_by_hand(root / "f", *SITES)
    federation.run(2)
    return federation


def test_every_record_artifact_and_round_has_its_row(tmp_path: Path) -> None:
    federation = two_rounds(tmp_path)
    report = checked(federation, tmp_path / "report.json", "--replay")
    assert report["status"] == "verified"
    assert report["head"] == federation.verify().head
    assert {item["result"] for item in report["checks"]} == {"holds"}
    rows = {item["file"] for item in report["checks"]}
    assert rows == {key for key in federation.files() if not key.endswith(".sig")} | {str(federation.drop)}
    assert results(report, layout.round_record(2)) == [("record", "holds"), ("replay of round 2", "holds")]


def test_what_fails_and_what_was_not_checked_is_said(tmp_path: Path) -> None:
    federation = two_rounds(tmp_path)
    artifact = artifact_path(federation, layout.update("north", 1))
    flip(artifact)
    rewrite(federation, layout.update("valley", 2), signer="north")
    report = checked(federation, tmp_path / "report.json")
    assert report["status"] == "failed"
    assert results(report, artifact.relative_to(federation.drop).as_posix()) == [("what does not hold", "fails")]
    assert {result for _, result in results(report, layout.update("valley", 2))} == {"fails"}
    assert results(report, layout.round_record(1)) == [("record", "holds"), ("replay of round 1", "not checked")]


def test_without_a_key_the_report_says_that_none_was_compared(tmp_path: Path) -> None:
    federation = two_rounds(tmp_path)
    succeed("verify", federation.drop, "--report", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert report["status"] == "consistent"
    assert report["checks"][0]["result"] == "not checked"
    assert "not confirmed" in report["checks"][0]["detail"]


def test_the_page_has_the_same_rows(tmp_path: Path) -> None:
    federation = two_rounds(tmp_path)
    flip(artifact_path(federation, layout.update("north", 1)))
    report = checked(federation, tmp_path / "report.json")
    run("verify", federation.drop, "--coordinator-key", federation.fingerprint, "--report", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<td>what does not hold</td>") == 1
    assert all(f"<code>{item['file']}</code>" in page for item in report["checks"])
    assert "NOT verified" in page


def test_another_kind_of_file_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    done = run("verify", tmp_path / "nothing", "--report", tmp_path / "report.pdf")
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected a file that ends in .html or .json" in done.stderr

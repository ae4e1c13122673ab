"""The doctor at the command line: a table with remedies, an exit code of its own."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.fixtures.command import imported_by, run

if TYPE_CHECKING:
    from tests.fixtures.federation import Federation


def test_json_is_one_object_and_a_failure_has_an_exit_code(begun: Federation) -> None:
    (begun.site("north") / "key").chmod(0o644)
    done = run("doctor", "-C", begun.site("north"), "--json")
    assert done.returncode == 9
    found = json.loads(done.stdout)
    assert list(found) == ["command", "status", "message", "party", "drop", "findings"]
    assert (found["command"], found["status"], found["party"]) == ("doctor", "failed", "north")
    assert {tuple(item) for item in found["findings"]} == {("name", "outcome", "found", "remedy")}
    key = next(item for item in found["findings"] if item["name"] == "signing key")
    assert (key["outcome"], key["remedy"]) == ("fail", f"chmod 600 {begun.site('north') / 'key'}")


def test_the_table_has_a_remedy_below_what_was_found(begun: Federation) -> None:
    away = begun.root / "unmounted"
    begun.drop.rename(away)
    done = run("doctor", begun.drop)
    assert done.returncode == 9
    assert "→ check the path, and that the share is mounted" in re.sub(r"[│\s]+", " ", done.stdout)
    assert "first: drop folder: check the path, and that the share is mounted" in done.stdout


def test_an_address_needs_no_workspace(begun: Federation) -> None:
    done = run("doctor", begun.drop, "--json", folder=begun.root)
    found = json.loads(done.stdout)
    assert (found["party"], found["drop"]) == (None, str(begun.drop))


def test_help_has_an_example_and_starts_at_once() -> None:
    assert "Example: fedcli doctor -C north" in run("doctor", "--help").stdout
    assert not imported_by("doctor", "--help") & {"torch", "pydicom"}

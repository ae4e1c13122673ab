"""The doctor at the command line: a table with remedies, an exit code of its own."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.fixtures.command import imported_by, run
from tests.fixtures.receivers import Appending, web_server

if TYPE_CHECKING:
    from pathlib import Path

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


def test_a_test_notice_goes_over_every_channel(begun: Federation) -> None:
    settings, receiver = begun.site("north") / "workspace.toml", Appending(begun.root)
    arguments = ("doctor", "-C", begun.site("north"), "--notify", "--json")
    assert outcomes(arguments) == {"notices": "warn"}
    with web_server() as web:
        settings.write_text(f'{settings.read_text()}{receiver.setting}webhook = "{web.url}"\n')
        assert outcomes(arguments) == {"notify.command": "ok", "notify.webhook": "ok"}
    assert outcomes(arguments) == {"notify.command": "ok", "notify.webhook": "fail"}
    assert [notice["message"] for notice in (*receiver.notices, *web.posts)] == [
        "this is a test of `fedcli doctor --notify`, and nothing is to be done"
    ] * 3
    assert {(notice["federation"], notice["party"]) for notice in receiver.notices} == {("test", "north")}
    assert outcomes(arguments[:3] + arguments[4:]) == {}


def test_a_test_notice_needs_a_workspace(begun: Federation) -> None:
    done = run("doctor", begun.drop, "--notify")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--notify goes with a workspace" in done.stderr


def outcomes(arguments: tuple[str | Path, ...]) -> dict[str, str]:
    """Return how the checks of notices ended."""
    found = json.loads(run(*arguments).stdout)["findings"]
    return {item["name"]: item["outcome"] for item in found if item["name"].startswith("noti")}

"""Commands without a terminal, as cron runs them: an event is told once, a state that needs a person when it begins and daily."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.environment import now
from fedcli.notices.told import FILE, Tellings
from tests.fixtures.command import run, succeed
from tests.fixtures.federation import PLAN, Clock, Federation
from tests.fixtures.receivers import Appending, mail_server, web_server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def fresh_once(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> Federation:
    return Federation(root=tmp_path_factory.mktemp("fresh") / "f", prepared=prepared, clock=Clock(now())).begin()


@pytest.fixture
def fresh(tmp_path: Path, fresh_once: Federation) -> Federation:
    """Return a federation that has begun at this very moment: a process asks the real clock."""
    return fresh_once.copy(tmp_path / "fresh")


@pytest.fixture
def stuck(tmp_path: Path, prepared: dict[str, Path]) -> Federation:
    """Return a federation whose round 1 has been open for five days, without a deadline; valley has sent nothing."""
    clock = Clock(now() - timedelta(days=5))
    federation = Federation(root=tmp_path / "stuck", prepared=prepared, clock=clock).begin()
    federation.train("north")
    return federation


def cron(federation: Federation, command: str, party: str) -> tuple[int, list[str]]:
    """Run a command of a party; return its exit code and the lines that cron would mail."""
    done = run(command, "-C", federation.root / party)
    return done.returncode, [*done.stdout.splitlines(), *done.stderr.splitlines()]


def hours_later(federation: Federation, party: str, hours: float) -> None:
    """Let hours pass for a party: what it was told lies further back."""
    path = federation.root / party / FILE
    told = wire.decode(Tellings, path.read_bytes())
    earlier = timedelta(hours=hours)
    changed = replace(
        told,
        looked=told.looked - earlier if told.looked else None,
        tellings=tuple(replace(item, moment=item.moment - earlier) for item in told.tellings),
    )
    path.write_bytes(wire.encode(changed))


def add(federation: Federation, party: str, text: str) -> None:
    settings = federation.root / party / "workspace.toml"
    settings.write_text(settings.read_text() + text)


def test_an_unapproved_plan_is_told_once_and_then_daily(fresh: Federation) -> None:
    receiver = Appending(fresh.root)
    add(fresh, "north", receiver.setting)
    fresh.amend(replace(PLAN, training=replace(PLAN.training, rate=1e-4)))
    code, lines = cron(fresh, "train-round", "north")
    assert code == 7
    assert len(lines) == 2
    assert "the plan is now" in lines[0]
    assert f"fedcli approve -C {fresh.site('north')}" in lines[1]
    assert receiver.kinds == ["plan changed", "round open"]
    for _ in range(3):
        assert cron(fresh, "train-round", "north") == (7, [])
    hours_later(fresh, "north", 22)
    assert cron(fresh, "train-round", "north") == (7, [])
    assert receiver.kinds == ["plan changed", "round open"]
    hours_later(fresh, "north", 2)
    assert cron(fresh, "train-round", "north") == (7, lines)
    assert receiver.kinds == ["plan changed", "round open", "plan changed"]
    assert receiver.notices[-1]["command"] == f"fedcli approve -C {fresh.site('north')}"
    run("approve", "-C", fresh.site("north"), "--approve-plan", receiver.notices[-1]["message"].split()[7].strip(","))
    code, lines = cron(fresh, "train-round", "north")
    assert (code, lines[-1]) == (0, "published sites/north/round-0001/update.json")
    assert cron(fresh, "train-round", "north") == (0, [])
    log = (fresh.site("north") / "fedcli.log").read_text()
    assert log.count("the plan is now") == 6


def test_a_stuck_round_is_not_silent(stuck: Federation) -> None:
    receiver = Appending(stuck.root)
    add(stuck, "coordinator", receiver.setting)
    code, lines = cron(stuck, "aggregate", "coordinator")
    (line,) = lines
    assert (code, line) == (0, "overdue: round 1 has been open for 5 days, and waits for valley")
    assert receiver.kinds == ["overdue", "round open"]
    assert cron(stuck, "aggregate", "coordinator") == (0, [])
    hours_later(stuck, "coordinator", 25)
    assert cron(stuck, "aggregate", "coordinator") == (0, [line])
    assert receiver.kinds == ["overdue", "round open", "overdue"]
    assert cron(stuck, "train-round", "north") == (0, [])


def test_a_fresh_round_is_silent_and_its_opening_is_sent_once(fresh: Federation) -> None:
    receiver = Appending(fresh.root)
    for party in ("north", "coordinator"):
        add(fresh, party, receiver.setting)
    for _ in range(2):
        assert cron(fresh, "aggregate", "coordinator") == (0, [])
    fresh.train("valley")
    assert cron(fresh, "train-round", "north")[1][-1] == "published sites/north/round-0001/update.json"
    assert cron(fresh, "train-round", "north") == (0, [])
    told = [(notice["party"], notice["kind"], notice["round"]) for notice in receiver.notices]
    assert told == [("coordinator", "round open", 1), ("north", "round open", 1)]
    code, lines = cron(fresh, "aggregate", "coordinator")
    assert (code, lines[0][:27]) == (0, "round 1 of 2 is published: ")
    assert receiver.notices[-1]["message"] == "round 2 of 2 is open"


def test_a_site_hears_of_the_end_at_once(fresh: Federation) -> None:
    """Not an hour later, though the run that finds it has nothing to do, and the one before has just looked."""
    receiver = Appending(fresh.root)
    add(fresh, "north", receiver.setting)
    fresh.run(1)
    fresh.train("valley")
    assert "published sites/north/round-0002/update.json" in cron(fresh, "train-round", "north")[1]
    assert cron(fresh, "train-round", "north") == (0, [])
    fresh.aggregate()
    code, lines = cron(fresh, "train-round", "north")
    assert (code, [line.partition(":")[0] for line in lines]) == (0, ["your turn", "finished"])
    assert receiver.kinds[-2:] == ["your turn", "finished"]
    assert cron(fresh, "train-round", "north") == (0, [])


def test_a_failure_is_told_once_until_it_ends_and_begins_again(fresh: Federation) -> None:
    receiver, away = Appending(fresh.root), fresh.root / "unmounted"
    add(fresh, "north", receiver.setting)
    fresh.train("north")
    fresh.drop.rename(away)
    code, lines = cron(fresh, "train-round", "north")
    assert (code, len(lines)) == (5, 2)
    assert cron(fresh, "train-round", "north") == (5, [])
    assert receiver.kinds == ["failed"]
    assert receiver.notices[0]["message"].startswith("train-round: ")
    assert "the drop folder is not there" in receiver.notices[0]["message"]
    away.rename(fresh.drop)
    assert cron(fresh, "train-round", "north") == (0, [])
    fresh.drop.rename(away)
    assert cron(fresh, "train-round", "north") == (5, lines)
    assert [kind for kind in receiver.kinds if kind != "round open"] == ["failed", "failed"]


def test_faulty_settings_are_told_once_too(fresh: Federation) -> None:
    add(fresh, "north", "[notify]\ncomand = []\n")
    code, lines = cron(fresh, "train-round", "north")
    assert code == 3
    assert "unknown key notify.comand; did you mean command?" in lines[0]
    assert cron(fresh, "train-round", "north") == (3, [])


def test_json_is_printed_at_every_run(fresh: Federation) -> None:
    fresh.amend(replace(PLAN, training=replace(PLAN.training, rate=1e-4)))
    for _ in range(2):
        done = run("train-round", "-C", fresh.site("north"), "--json")
        assert (done.returncode, json.loads(done.stdout)["error"]) == (7, "ApprovalError")
        assert "the plan is now" in done.stderr
    assert not (fresh.site("north") / FILE).exists()


def test_a_channel_that_fails_never_fails_the_command_and_is_tried_again(fresh: Federation) -> None:
    fresh.train()
    receiver = Appending(fresh.root)
    with web_server(answer=500) as web:
        add(fresh, "coordinator", f'{receiver.setting}webhook = "{web.url}"\n')
        code, lines = cron(fresh, "aggregate", "coordinator")
        assert code == 0
        assert lines[0].startswith("round 1 of 2 is published")
        failed = (
            "notify.webhook: a notice could not be sent, and the next run tries again: 127.0.0.1 answers 500, expected 200 to 299"
        )
        assert lines[-1] == failed
        assert cron(fresh, "aggregate", "coordinator") == (0, [])
        assert (len(web.posts), receiver.kinds) == (2, ["round open"])
        web.answer = 200
        assert cron(fresh, "aggregate", "coordinator") == (0, [])
        assert cron(fresh, "aggregate", "coordinator") == (0, [])
    assert [post["kind"] for post in web.posts] == ["round open"] * 3
    assert receiver.kinds == ["round open"]


def test_mail_is_sent_too_and_only_what_is_wanted(stuck: Federation) -> None:
    with mail_server() as server:
        add(
            stuck,
            "coordinator",
            '\n[notify]\nonly = ["overdue"]\n[notify.email]\nto = ["eve@hospital.example"]\nhost = "127.0.0.1"\n'
            f'port = {server.port}\nsecurity = "unsafe_plaintext"\n',
        )
        for _ in range(2):
            cron(stuck, "aggregate", "coordinator")
    assert [mail["Subject"] for mail in server.mails] == ["[fedcli] test: overdue"]


def test_a_lost_file_means_that_it_is_told_again(stuck: Federation) -> None:
    assert len(cron(stuck, "aggregate", "coordinator")[1]) == 1
    (stuck.coordinator / FILE).write_bytes(b"{")
    assert len(cron(stuck, "aggregate", "coordinator")[1]) == 1
    assert cron(stuck, "aggregate", "coordinator") == (0, [])
    (stuck.coordinator / FILE).unlink()
    assert len(cron(stuck, "aggregate", "coordinator")[1]) == 1


def test_a_line_that_every_run_says_is_printed_once(fresh: Federation) -> None:
    fresh.train("north")
    path = fresh.drop / "sites/north/round-0001/update.json"
    path.write_bytes(path.read_bytes().replace(b"north", b"n0rth", 1))
    _, first = cron(fresh, "aggregate", "coordinator")
    assert any("north" in line for line in first)
    assert cron(fresh, "aggregate", "coordinator") == (0, [])


def test_status_answers_at_every_run_and_sends_what_is_due(fresh: Federation) -> None:
    receiver = Appending(fresh.root)
    add(fresh, "north", receiver.setting)
    outputs = {run("status", "-C", fresh.site("north")).stdout.splitlines()[-1] for _ in range(2)}
    assert outputs == {f"Your turn: fedcli train-round -C {fresh.site('north')}; turn of valley: fedcli train-round -C WORKSPACE"}
    assert succeed("status", fresh.drop)["round"] == 0
    assert receiver.kinds == ["your turn", "round open"]
    fresh.amend(replace(PLAN, training=replace(PLAN.training, rate=1e-4)))
    run("status", "-C", fresh.site("north"))
    assert len(cron(fresh, "train-round", "north")[1]) == 2  # what status has sent is not printed yet
    assert not (fresh.coordinator / FILE).exists()

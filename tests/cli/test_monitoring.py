"""`status --check` as Nagios runs it, and `status --prometheus` as Prometheus' own parser reads it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fedcli.environment import now
from fedcli.operations.status.lasting_notices import Viewpoint
from fedcli.operations.status.metrics_file import metrics_text
from fedcli.operations.status.overview import observe
from tests.fixtures.command import run
from tests.fixtures.federation import PLAN, Clock, Federation

if TYPE_CHECKING:
    from pathlib import Path

FIGURE = r" [a-z]+=[0-9]+s?;;;0(;[0-9]+)?"
LINE = re.compile(rf"FEDCLI (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+( \|({FIGURE})+)?\n")


@pytest.fixture(scope="module")
def running_once(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> Federation:
    federation = Federation(root=tmp_path_factory.mktemp("running") / "f", prepared=prepared, clock=Clock(now())).begin()
    federation.train("north")
    return federation


@pytest.fixture
def running(tmp_path: Path, running_once: Federation) -> Federation:
    """Return a federation that has begun at this very moment, and to which north has sent its update of round 1."""
    return running_once.copy(tmp_path / "running")


def checked(*arguments: str | Path) -> tuple[int, str]:
    done = run("status", "--check", *arguments)
    assert LINE.fullmatch(done.stdout), done.stdout
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_ok_while_others_are_awaited(running: Federation) -> None:
    code, line = checked("-C", running.site("north"))
    assert code == 0
    assert re.fullmatch(
        r"FEDCLI OK - test: round 0 of 2, round 1 waits for valley \| "
        r"round=0;;;0;2 problems=0;;;0 updates=1;;;0;2 open=[0-9]+s;;;0\n",
        line,
    )
    code, other = checked(running.drop)
    assert (code, other.partition(" | ")[0]) == (0, line.partition(" | ")[0])


def test_a_warning_if_it_is_my_turn(running: Federation) -> None:
    code, line = checked("-C", running.site("valley"))
    assert code == 1
    assert line.startswith(
        f"FEDCLI WARNING - your turn: round 1 waits for you: fedcli train-round -C {running.site('valley')} | round=0;;;0;2 "
    )
    running.train("valley")
    assert checked("-C", running.site("valley"))[0] == 0
    assert checked("-C", running.coordinator)[0] == 1


def test_critical_if_it_is_overdue(tmp_path: Path, prepared: dict[str, Path]) -> None:
    clock = Clock(now() - timedelta(days=5))
    federation = Federation(root=tmp_path / "f", prepared=prepared, clock=clock).begin()
    federation.train("north")
    assert [checked("-C", federation.root / party)[0] for party in ("north", "valley", "coordinator")] == [0, 2, 2]
    code, line = checked(federation.drop)
    assert (code, line.partition(" | ")[0]) == (
        2,
        "FEDCLI CRITICAL - overdue: round 1 has been open for 5 days, and waits for valley",
    )


def test_critical_if_it_is_stopped(running: Federation) -> None:
    running.train("valley")
    running.aggregate()
    running.amend(replace(PLAN, training=replace(PLAN.training, rate=1e-4)))
    code, line = checked("-C", running.site("north"))
    assert code == 2
    assert line.startswith("FEDCLI CRITICAL - plan changed: from round 2 on, the plan is ")
    path = running.drop / "coordinator/round-0001/round.json"
    path.write_bytes(path.read_bytes().replace(b"north", b"n0rth", 1))
    code, line = checked(running.drop)
    assert (code, line[:26]) == (2, "FEDCLI CRITICAL - failed: ")


def test_critical_if_a_scheduled_command_fails(running: Federation) -> None:
    away = running.root / "unmounted"
    running.drop.rename(away)
    assert run("train-round", "-C", running.site("north")).returncode == 5
    away.rename(running.drop)
    code, line = checked("-C", running.site("north"))
    assert (code, line.partition(" | ")[0]) == (
        2,
        "FEDCLI CRITICAL - failed: train-round fails; fedcli.log in the workspace says why",
    )
    assert run("train-round", "-C", running.site("north")).returncode == 0
    assert checked("-C", running.site("north"))[0] == 0


def test_unknown_if_the_drop_folder_cannot_be_read(running: Federation, tmp_path: Path) -> None:
    running.drop.rename(running.root / "unmounted")
    code, line = checked("-C", running.site("north"))
    assert (code, line) == (3, f"FEDCLI UNKNOWN - {running.drop}: the drop folder is not there\n")
    assert checked("-C", tmp_path / "nothing")[0] == 3


def test_a_check_as_json(running: Federation) -> None:
    done = run("status", "--check", "-C", running.site("valley"), "--json")
    found = json.loads(done.stdout)
    assert list(found) == ["command", "status", "message", "severity", "code", "reasons"]
    assert (done.returncode, found["code"], found["severity"]) == (1, 1, "warning")
    assert found["reasons"] == [f"your turn: round 1 waits for you: fedcli train-round -C {running.site('valley')}"]


def test_a_check_answers_once(running: Federation) -> None:
    done = run("status", "--check", "--watch", "-C", running.site("north"))
    assert (done.returncode, done.stdout) == (2, "")


# ------------------------------------------------------------------------------------------------------------ prometheus


def read(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return every sample by its name and its labels other than the federation, as Prometheus' parser reads them."""
    values = {}
    for family in text_string_to_metric_families(text):
        assert (family.type, family.name[:7]) == ("gauge", "fedcli_")
        assert family.documentation
        assert family.samples
        for sample in family.samples:
            labels = tuple(value for name, value in sample.labels.items() if name != "federation")
            assert (sample.name, labels) not in values
            values[sample.name.removeprefix("fedcli_"), labels] = sample.value
    return values


def test_what_prometheus_reads(running: Federation, tmp_path: Path) -> None:
    path = tmp_path / "collector" / "fedcli.prom"
    done = run("status", "-C", running.site("valley"), "--prometheus", path)
    assert (done.returncode, done.stdout) == (0, "")
    assert [item.name for item in path.parent.iterdir()] == ["fedcli.prom"]
    values = read(path.read_text())
    begun = running.clock().timestamp()
    assert {name: values[name, ()] for name in ("round", "rounds", "finished", "problems", "keys_waiting")} == {
        "round": 0, "rounds": 2, "finished": 0, "problems": 0, "keys_waiting": 0,
    }  # fmt: skip
    assert values["round_opened_timestamp_seconds", ()] == begun
    assert begun <= values["looked_timestamp_seconds", ()] <= now().timestamp()
    assert (values["site_in_open_round", ("north",)], values["site_in_open_round", ("valley",)]) == (1, 0)
    assert ("site_awaited_timestamp_seconds", ("north",)) not in values
    assert values["site_awaited_timestamp_seconds", ("valley",)] >= begun
    assert values["site_updates", ("north",)] == 1
    assert values["site_validation_kappa", ("north",)] == running.status().sites[0].last_kappa
    assert values["check", ("valley",)] == 1
    assert {labels[1]: value for (name, labels), value in values.items() if name == "notice"} == {
        "round open": 1, "your turn": 1, "overdue": 0, "rejected": 0, "plan changed": 0, "key waiting": 0, "finished": 0,
        "failed": 0,
    }  # fmt: skip
    assert ("deadline_timestamp_seconds", ()) not in values


def test_the_file_and_the_answer_can_be_had_at_once(running: Federation, tmp_path: Path) -> None:
    assert checked("-C", running.site("valley"), "--prometheus", tmp_path / "f.prom")[0] == 1
    assert read((tmp_path / "f.prom").read_text())["site_updates", ("north",)] == 1


def test_labels_come_back_as_they_were(running: Federation) -> None:
    state, ledger = observe(running.source(), running.environment)
    for name in ("plain", 'a "quoted" \\ name', "ü {}=,"):
        viewpoint = Viewpoint(state=replace(state, name=name), ledger=ledger, workspace=None, moment=running.clock())
        families = list(text_string_to_metric_families(metrics_text(viewpoint)))
        assert {sample.labels["federation"] for family in families for sample in family.samples} == {name}


def test_a_federation_that_is_finished(finished: Federation) -> None:
    state, ledger = observe(finished.source(), finished.environment)
    text = metrics_text(Viewpoint(state=state, ledger=ledger, workspace=None, moment=finished.clock()))
    values = read(text)
    assert (values["finished", ()], values["round", ()]) == (1, 2)
    assert values["global_validation_kappa", ()] == [item.kappa for item in state.history if item.kappa is not None][-1]
    assert ("site_in_open_round", ("north",)) not in values

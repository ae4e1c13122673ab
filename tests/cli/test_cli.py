"""What scripts and people may rely on at the command line."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.cli import COMMANDS, command_line
from fedcli.imaging.dataset import prepared_dataset
from fedcli.plan import template
from fedcli.private_files import locked
from tests.fixtures.command import COMMAND, imported_by, run, succeed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.federation import Federation

HEAVY = {"torch", "torchvision", "sklearn", "pydicom", "matplotlib", "cv2"}


def test_help_starts_at_once() -> None:
    assert not imported_by("--help") & HEAVY


@pytest.mark.parametrize("command", [name for names in COMMANDS.values() for name in names if name not in {"access", "privacy"}])
def test_every_command_has_help_with_an_example(command: str) -> None:
    shown = run(command, "--help")
    assert shown.returncode == 0
    assert re.search(f"Examples?: fedcli {command} ", re.sub(r"\s+", " ", shown.stdout))
    assert "--json" in shown.stdout


def made(arguments: list[str]) -> set[str | None]:
    """Return the commands that a process with these arguments makes."""
    app = command_line(arguments)
    return {info.name for info in app.registered_commands} | {group.name for group in app.registered_groups}


def test_a_command_imports_only_its_own_module() -> None:
    every = [name for names in COMMANDS.values() for name in names]
    for name in ("demo", "access", "privacy"):
        assert made([name]) == {name}
    for arguments in (["--help"], ["agregate"], []):
        assert made(arguments) == {*every}, arguments


def test_status_verify_aggregate_and_prepare_never_import_torch(trained: Federation) -> None:
    archive = trained.prepared["north"].parent.parent / "archives/north"
    plan = trained.root / "plan.toml"
    plan.write_text('name = "x"\n')
    for arguments in (
        ("status", trained.drop),
        ("verify", trained.drop, "--replay"),
        ("aggregate", "-C", trained.coordinator),
        ("prepare", archive, "--labels", archive / "labels.csv", "--plan", plan, "--out", trained.root / "out"),
    ):
        assert not imported_by(*arguments) & {"torch", "torchvision", "sklearn"}, arguments


def test_the_template_is_the_plan(tmp_path: Path) -> None:
    done = run("init", "--template")
    assert (done.returncode, done.stdout) == (0, template())


def test_json_is_one_object_with_stable_keys(trained: Federation) -> None:
    found = succeed("verify", trained.drop, "--coordinator-key", trained.coordinator / "key.pub")
    assert list(found) == [
        "command", "status", "message", "verified", "consistent", "coordinator", "federation", "head", "round", "rounds",
        "records", "artifacts", "archived", "replayable_from", "replayed", "unopened", "problems", "unaccounted",
        "dates", "privacy", "followed", "unfollowed",
    ]  # fmt: skip
    found = succeed("aggregate", "-C", trained.coordinator)
    assert list(found) == [
        "command", "status", "message", "round", "rounds", "used", "absent", "excused", "rejected", "late", "deadline",
        "global_model", "review",
    ]  # fmt: skip
    assert (found["status"], found["used"]) == ("published", ["north", "valley"])
    found = succeed("train-round", "-C", trained.site("north"))
    assert list(found) == [
        "command", "status", "message", "site", "round", "rounds", "steps", "received", "trained", "best_round", "best_kappa",
        "seconds", "epsilon",
    ]  # fmt: skip


def test_cron_hears_nothing_when_there_is_nothing_to_do(trained: Federation) -> None:
    idle = run("train-round", "-C", trained.site("north"))
    assert (idle.returncode, idle.stdout, idle.stderr) == (0, "", "")
    done = run("aggregate", "-C", trained.coordinator)
    assert done.returncode == 0
    assert done.stdout.startswith("round 1 of 2 is published: 2 of 2 sites")
    assert done.stderr == "published coordinator/round-0001/round.json\n"
    log = (trained.coordinator / "fedcli.log").read_text()
    assert "aggregate: published: round 1 of 2 is published" in log


def test_the_second_of_two_runs_is_busy(begun: Federation) -> None:
    with locked(begun.site("north")):
        found = succeed("train-round", "-C", begun.site("north"))
    assert found["status"] == "busy"


def test_of_two_preparations_at_once_one_is_busy(begun: Federation, tmp_path: Path) -> None:
    archive = begun.prepared["north"].parent.parent / "archives/north"
    arguments = ("prepare", archive, "--labels", archive / "labels.csv", "-C", begun.site("north"), "--out", tmp_path / "out")
    processes = [
        subprocess.Popen([*COMMAND, *map(str, arguments), "--json"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        for _ in range(2)
    ]
    found = [json.loads(process.communicate()[0])["status"] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert found in (["done", "busy"], ["busy", "done"], ["done", "done"])
    assert prepared_dataset.load(tmp_path / "out", wire.digest(begun.plan.preparation), ()).images.shape[0] == 64


def test_errors_have_exit_codes_hints_and_json(begun: Federation, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('name = "x"\n[training]\nbatch_size = 0\n')
    for code, arguments in (
        (2, ("init", "-C", tmp_path / "c")),
        (3, ("init", "-C", tmp_path / "c", "--plan", plan, "--drop", tmp_path / "d")),
        (3, ("train-round", "-C", tmp_path)),
        (4, ("prepare", tmp_path / "nothing", "--labels", plan, "--out", tmp_path / "o", "-C", begun.site("north"))),
        (5, ("status", tmp_path / "nothing")),
        (6, ("join", "x", "-C", tmp_path / "x", "--drop", begun.drop, "--coordinator-key", "SHA256:" + "A" * 43)),
        (7, ("admit", "north", "-C", begun.coordinator, "--fingerprint", "SHA256:" + "A" * 43)),
        (7, ("join", "x", "-C", tmp_path / "x", "--drop", begun.drop)),
    ):
        done = run(*arguments, "--json")
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        found = json.loads(done.stdout)
        assert (found["status"], found["exit_code"]) == ("error", code)
        assert "Traceback" not in done.stderr
        assert found["message"] in done.stderr
    assert f"{plan}, line 3: training.batch_size: should be greater than or equal to 1 (found 0)" in (
        run("init", "-C", tmp_path / "c", "--plan", plan, "--drop", tmp_path / "d").stderr
    )


def test_a_failed_verification_has_an_exit_code(trained: Federation) -> None:
    path = trained.drop / "sites/north/round-0001/update.json"
    path.write_bytes(path.read_bytes().replace(b"north", b"south", 1))
    done = run("verify", trained.drop)
    assert done.returncode == 6
    assert "NOT verified" in done.stdout
    assert "sites/north/round-0001/update.json" in done.stdout

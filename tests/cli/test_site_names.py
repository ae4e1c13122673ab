"""A name that a site cannot have is refused by name, before anything is written."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from fedcli.environment import Environment
from fedcli.errors import DataError, UsageError
from fedcli.operations.simulate import SimulateRequest, simulate
from tests.fixtures.command import SMALL_PLAN, run
from tests.fixtures.federation import PLAN

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.fixtures.federation import Federation


def refused(done: subprocess.CompletedProcess[str], code: int, text: str) -> None:
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert text in done.stderr


def test_simulate_leaves_nothing_behind(prepared: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(SMALL_PLAN)
    sites = ("--site", f"north={prepared['north']}", "--site", f"München={prepared['valley']}")
    done = run("simulate", "--plan", "plan.toml", *sites, "--drop", "run/drop", folder=tmp_path)
    refused(done, 2, "München: not the name of a site")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.toml"]


@pytest.mark.parametrize("name", ["North", "-north", "coordinator", "north south", "n" * 64])
def test_names_that_no_site_has(name: str, prepared: dict[str, Path], tmp_path: Path) -> None:
    request = SimulateRequest(plan=PLAN, sites={name: prepared["north"]}, drop=tmp_path / "run/drop")
    with pytest.raises(UsageError, match="not the name of a site"):
        simulate(request, Environment())
    assert not list(tmp_path.iterdir())


def test_simulate_looks_at_all_data_before_it_begins(prepared: dict[str, Path], tmp_path: Path) -> None:
    sites = {"north": prepared["north"], "valley": tmp_path / "nowhere"}
    with pytest.raises(DataError, match=r"nowhere/dataset\.json"):
        simulate(SimulateRequest(plan=PLAN, sites=sites, drop=tmp_path / "run/drop"), Environment())
    assert not list(tmp_path.iterdir())


def test_init_and_join(begun: Federation, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(SMALL_PLAN)
    shutil.copy(begun.site("north") / "key.pub", tmp_path / "k.pub")
    init = run("init", "-C", "c", "--plan", "plan.toml", "--drop", "drop", "--site", "München=k.pub", folder=tmp_path)
    refused(init, 2, "München: not the name of a site")
    given = ("--drop", begun.drop, "--coordinator-key", begun.fingerprint, "--approve-plan", begun.plan.digest)
    refused(run("join", "München", "-C", "m", *given, folder=tmp_path), 2, "München: not the name of a site")
    assert not {"c", "m", "drop"} & {path.name for path in tmp_path.iterdir()}

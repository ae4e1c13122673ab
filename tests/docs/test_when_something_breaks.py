"""docs/when-something-breaks.md: every command line of it is run where that has just happened, and helps."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli.exchange.keys import create_key
from fedcli.operations.init import InitRequest, init
from fedcli.party.source import Source
from fedcli.private_files import locked
from fedcli.workspace import Workspace
from tests.docs.walkthrough import ROOT, Walk
from tests.fixtures.federation import PLAN, SITES, Federation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE = (ROOT / "docs/when-something-breaks.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^##? ", PAGE, flags=re.MULTILINE)[1:]}
LINES = {
    title: [line for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE) for line in block.splitlines()]
    for title, text in SECTIONS.items()
}
EXPECTED = {
    "fedcli train-round": "trained round|has published its update",
    "fedcli aggregate": "is published",
    "fedcli join": "Next: ",
}
"""What a command prints that has done its work, and does not only wait."""
_TOLD = re.compile(r"fingerprint, (?:by telephone: )?(SHA256:[A-Za-z0-9+/]{43})")


@pytest.fixture(scope="module")
def working_once(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> Federation:
    """Round 1 of six is done, and the federation has a recovery key; each site's prepared data lie in its workspace."""
    root = tmp_path_factory.mktemp("working") / "f"
    root.mkdir()
    create_key(root / "recovery", "recovery")
    own = {site: shutil.copytree(folder, root / site / "prepared") for site, folder in prepared.items()}
    federation = Federation(root=root, prepared=own, plan=replace(PLAN, rounds=6))
    begin = InitRequest(
        root=federation.coordinator,
        plan=federation.plan,
        source=Source(address=str(federation.drop)),
        recovery=root / "recovery.pub",
    )
    federation.fingerprint = init(begin, federation.environment).coordinator
    for site in SITES:
        federation.join(site)
        assert Workspace.open(federation.site(site)).secret
    federation.run(1)
    shutil.copytree(next(iter(prepared.values())).parents[1] / "archives/north", root / "archive")
    shutil.copy(root / "archive/labels.csv", root / "labels.csv")
    return federation


@pytest.fixture
def working(tmp_path: Path, working_once: Federation) -> Federation:
    federation = working_once.copy(tmp_path / "f")
    return replace(federation, prepared={site: federation.site(site) / "prepared" for site in SITES})


def nothing_yet(federation: Federation) -> None:
    shutil.rmtree(federation.root)
    federation.drop.mkdir(parents=True)
    shutil.copy(ROOT / "fedcli/demo_plan.toml", federation.root / "plan.toml")


def lost_key(federation: Federation) -> None:
    (federation.site("north") / "key").unlink()


def lost_disk(federation: Federation) -> None:
    (federation.root / "backup").mkdir()
    for name in ("key", "secret"):
        shutil.copy(federation.site("north") / name, federation.root / "backup" / name)
    shutil.copytree(federation.site("north") / "encryption", federation.root / "backup" / "encryption")
    federation.train("north")
    shutil.rmtree(federation.site("north"))


def lost_coordinators_key(federation: Federation) -> None:
    federation.train()
    (federation.coordinator / "key").unlink()


def lost_coordinators_disk(federation: Federation) -> None:
    federation.train()
    workspace = federation.root / "coordinator-new"
    workspace.mkdir()
    shutil.copy(federation.coordinator / "key", workspace / "key")
    shutil.copytree(federation.coordinator / "encryption", workspace / "encryption")
    shutil.rmtree(federation.coordinator)
    (settings,) = re.findall(r"^```toml\n(.*?)^```", SECTIONS["The coordinator's disk is lost"], re.DOTALL | re.MULTILINE)
    settings = settings.replace("/mnt/study", str(federation.drop)).replace("FINGERPRINT", federation.fingerprint)
    (workspace / "workspace.toml").write_text(settings)


def all_updates_are_in(federation: Federation) -> None:
    federation.train()


def withdrawn_patient(federation: Federation) -> None:
    patient = (federation.root / "labels.csv").read_text().splitlines()[1].split(",")[0]
    (federation.root / "withdrawn.csv").write_text(f"patient\n{patient}\n")


def full_disk(federation: Federation) -> None:
    federation.run(1)


def busy(federation: Federation) -> None:
    with locked(federation.site("north")):
        step = Walk(folder=federation.root).run("fedcli train-round -C north --json")
        assert '"status": "busy"' in step.printed


def as_it_is(_: Federation) -> None:
    """Whatever happens is on the page."""


HAPPENINGS: dict[str, Callable[[Federation], None]] = {
    "When something breaks": nothing_yet,
    "A site has lost its key": lost_key,
    "A site's key was stolen": as_it_is,
    "A site's disk is lost": lost_disk,
    "The coordinator has lost its key, or it was stolen": lost_coordinators_key,
    "The recovery key is lost, or is to be replaced": as_it_is,
    "The coordinator's disk is lost": lost_coordinators_disk,
    "The coordinator moves to another machine": all_updates_are_in,
    "The drop folder moves": as_it_is,
    "A round is broken": as_it_is,
    "A patient withdraws": withdrawn_patient,
    "A site withdraws": as_it_is,
    "A disk is full": full_disk,
    "A command ends with `busy`": busy,
}


def test_every_section_with_commands_is_run() -> None:
    assert HAPPENINGS.keys() == {title for title, lines in LINES.items() if lines}


@pytest.mark.parametrize("title", HAPPENINGS)
def test_what_the_page_says_helps(working: Federation, title: str) -> None:
    HAPPENINGS[title](working)
    walk, told = Walk(folder=working.root), working.fingerprint
    for line in LINES[title]:
        fingerprint = working.fingerprint if line.startswith("fedcli join") else told
        typed = line.replace("/mnt/study", str(working.drop)).replace("/mnt/new", str(working.root / "new"))
        step = walk.run(typed.replace("FINGERPRINT", fingerprint))
        expected = next((text for command, text in EXPECTED.items() if line.startswith(command)), "")
        assert step.code == 0, (step.line, step.printed)
        assert re.search(expected, step.printed), (step.line, step.printed)
        told = next(iter(_TOLD.findall(step.printed)), told)
    if title == "When something breaks":
        return
    moved = replace(working.source(), address=str(working.root / "new")) if title == "The drop folder moves" else working.source()
    last = walk.run(f"fedcli verify {moved.address} --replay --coordinator-key {working.fingerprint}")
    assert (last.code, title == "A disk is full" or "replayable from" not in last.printed) == (0, True), last.printed

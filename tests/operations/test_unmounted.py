"""A share that is not mounted is not an empty federation: it is told as such, and nothing is written into the mount point."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import StoreError
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import aggregate
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.source import Source
from fedcli.results import Status
from fedcli.workspace import Workspace
from tests.fixtures.command import run
from tests.fixtures.interruption import Unplugged

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.federation import Federation


def unmount(federation: Federation, *, mount_point: bool) -> None:
    federation.drop.rename(federation.root / "share")
    if mount_point:
        federation.drop.mkdir()


def mount(federation: Federation) -> None:
    if federation.drop.exists():
        federation.drop.rmdir()  # it is empty
    (federation.root / "share").rename(federation.drop)


@pytest.mark.parametrize(("mount_point", "said"), [(True, "the drop folder is empty"), (False, "the drop folder is not there")])
def test_what_waits_in_the_outbox_is_not_lost_in_an_empty_mount_point(begun: Federation, said: str, *, mount_point: bool) -> None:
    request, outbox = TrainRoundRequest(root=begun.site("north")), begun.site("north") / "outbox"
    with pytest.raises(KeyboardInterrupt):
        train_round(request, replace(begun.environment, progress=Unplugged()))
    unmount(begun, mount_point=mount_point)
    with pytest.raises(StoreError, match=said) as caught:
        train_round(request, begun.environment)
    assert "the share is mounted" in caught.value.hint
    assert [path.name for path in outbox.iterdir() if not path.name.startswith(".")] == ["round-0001"]
    mount(begun)
    assert train_round(request, begun.environment).status is Status.PUBLISHED


def test_an_empty_mount_point_is_told(begun: Federation) -> None:
    unmount(begun, mount_point=True)
    with pytest.raises(StoreError, match="the drop folder is empty, though this party has trusted a history there"):
        aggregate(AggregateRequest(root=begun.coordinator), begun.environment)
    done = run("status", "-C", begun.coordinator)
    assert (done.returncode, "the drop folder is empty" in done.stderr) == (5, True), done
    done = run("verify", begun.drop)
    assert "contains no federation; if it should, check that the share is mounted" in done.stdout
    done = run("status", begun.drop)
    assert "there is no federation record" in done.stderr
    assert "check that the share is mounted" in done.stderr
    mount(begun)


def test_a_workspace_that_was_moved_away_from_a_relative_drop_folder_is_told(begun: Federation, tmp_path: Path) -> None:
    settings = begun.site("north") / "workspace.toml"
    settings.write_text(settings.read_text().replace(f'drop = "{begun.drop}"', 'drop = "../drop"'))
    own = Workspace.open(begun.site("north"))
    assert verify(VerifyRequest(source=Source.of_workspace(own)), begun.environment)[0].verified
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(own.root, tmp_path / "elsewhere/north")
    done = run("train-round", "-C", moved)
    assert done.returncode == 5
    assert f"`drop` in {moved}/workspace.toml; a relative path begins at the workspace" in done.stderr

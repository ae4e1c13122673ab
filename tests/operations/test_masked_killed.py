"""Every step of a masked round, killed at points of its writing to the disk, and run again."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pytest

from fedcli.environment import Environment
from fedcli.exchange import layout
from fedcli.operations.aggregate import AggregateRequest, aggregate
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.progress import Silent
from tests.fixtures.federation import Clock, Federation, no_passphrase, prepared_data
from tests.fixtures.killing import EVERY, chosen, run_dying
from tests.fixtures.masked import FOUR, MASKED, begun_masked, replayed, run_rounds, stages_of

if TYPE_CHECKING:
    from pathlib import Path

STEPS = {
    "masks": "north",
    "opening": "coordinator",
    "update": "north",
    "closing": "coordinator",
    "unmask": "north",
    "round": "coordinator",
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Federation]:
    """A federation of four sites, before each step of its first round."""
    folders = prepared_data(tmp_path_factory.mktemp("data"), MASKED)
    prepared = dict(zip(FOUR, [*folders.values()] * 2, strict=True))
    folder = tmp_path_factory.mktemp("stages")
    return stages_of(folder, begun_masked(folder / "masks", prepared))


def run_step(root: Path, party: str) -> None:
    environment = Environment(progress=Silent(), passphrase=no_passphrase, clock=Clock())
    if party == "coordinator":
        aggregate(AggregateRequest(root=root), environment)
    else:
        train_round(TrainRoundRequest(root=root), environment)


@pytest.mark.parametrize("most", [EVERY, pytest.param(2, id="few")])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_killed_at_any_point_is_done_once(stages: dict[str, Federation], tmp_path: Path, step: str, most: int) -> None:
    party = STEPS[step]

    def attempt(number: int) -> tuple[int | None, Federation]:
        federation = stages[step].copy(tmp_path / str(number))
        work = partial(run_step, federation.root / party, party)
        return run_dying(number, work, tmp_path / f"said-{number}"), federation

    total, calm = attempt(0)
    assert total is not None
    made = calm.files().keys() - stages[step].files().keys()
    for number in chosen(total, most + 2)[1:-1]:
        met, federation = attempt(number)
        assert met is None
        seen = federation.files()
        run_step(federation.root / party, party)
        after = federation.files()
        assert {key: after[key] for key in seen} == seen  # whatever was visible stays as it was
        records = {key for key in after.keys() - stages[step].files().keys() if key.endswith(".json")}
        assert records == {key for key in made if key.endswith(".json")}
        _erases_its_secrets(federation, step)
        run_rounds(federation, 1)
        assert len(federation.record(1).contributions) == 4
        assert replayed(federation, "coordinator") == 1


def _erases_its_secrets(federation: Federation, step: str) -> None:
    """The secrets of round 1 are in the workspace until its update is committed."""
    kept = [json.loads(path.read_bytes()) for path in federation.site("north").glob("state/masks-*/round-0001.json")]
    committed = (federation.drop / layout.update("north", 1)).exists()
    assert bool(kept) is not committed, step

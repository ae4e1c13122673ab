"""train-round, aggregate and restart, killed at every point of their writing, to the disk or to a remote store, and run again."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from fedcli.disk import measure
from fedcli.environment import Environment
from fedcli.exchange import layout
from fedcli.exchange.store import StoreOptions
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import aggregate
from fedcli.operations.restart import RestartRequest, restart
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.source import Source
from fedcli.plan import Confidentiality
from fedcli.progress import Silent
from tests.fixtures.federation import PLAN, Clock, Federation, no_passphrase
from tests.fixtures.files import files_below
from tests.fixtures.killing import EVERY, chosen, run_dying
from tests.fixtures.places import Place, on_s3, on_sftp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.operations.verify import VerifyResult

NEVER_THE_SAME = "seconds"
COMMANDS = {"train-round": "north", "aggregate": "coordinator", "restart": "coordinator"}
BEFORE = {"train-round": "begun_once", "aggregate": "trained_once", "restart": "trained_once"}


@pytest.fixture(params=["local", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sftp", "s3"))])
def place_of(request: pytest.FixtureRequest) -> Callable[[Federation, Path], Place]:
    """Return where a federation's drop folder is, on this machine or moved to an empty place, and where a workspace finds it."""

    def stay(federation: Federation, _workspace: Path) -> Place:
        return Place(address=str(federation.drop), options=StoreOptions(), environment=None)

    def move(federation: Federation, workspace: Path) -> Place:
        place = on_sftp(request.getfixturevalue("sshd")) if request.param == "sftp" else on_s3(request.getfixturevalue("s3"))
        place.take_over(federation.drop, [workspace])
        return place

    return stay if request.param == "local" else move


def run_command(command: str, root: Path) -> None:
    """Run a command, at a moment that is always the same."""
    environment = Environment(progress=Silent(), passphrase=no_passphrase, clock=Clock())
    if command == "train-round":
        train_round(TrainRoundRequest(root=root), environment)
    elif command == "restart":
        restart(RestartRequest(root=root, number=0, reason="TEXT"), environment)
    else:
        aggregate(AggregateRequest(root=root), environment)


def files(place: Place) -> dict[str, bytes]:
    store = place.store()
    return {key: store.read(key, 10**7) for key in store.list("")}


def verified(place: Place) -> VerifyResult:
    with place.acting():
        return verify(VerifyRequest(source=Source(address=place.address, options=place.options)), Environment())[0]


def outcome(place: Place, workspace: Path) -> dict[str, Any]:
    """Return all that a command has made, here and there, but for how long it took."""
    found: dict[str, Any] = {
        path.relative_to(workspace).as_posix(): measure(path) for path in workspace.rglob("state/**/*.safetensors")
    }
    for key, data in files(place).items():
        if key.endswith(".json"):
            found[key] = {name: value for name, value in json.loads(data).items() if name != NEVER_THE_SAME}
        elif layout.is_artifact(key):
            found[key] = data
    return found


@pytest.mark.parametrize("most", [EVERY, pytest.param(3, id="few")])
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_point_and_run_again_it_ends_with_the_same_bits(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    place_of: Callable[[Federation, Path], Place],
    command: str,
    most: int,
) -> None:
    before: Federation = request.getfixturevalue(BEFORE[command])

    def attempt(number: int) -> tuple[int | None, Place, Path, Callable[[], int | None]]:
        federation = before.copy(tmp_path / str(number))
        workspace = federation.root / COMMANDS[command]
        place = place_of(federation, workspace)
        work = partial(run_command, command, workspace)
        met = run_dying(number, work, tmp_path / f"said-{number}", place.environment)
        return met, place, workspace, partial(run_dying, 0, work, tmp_path / f"again-{number}", place.environment)

    total, calm_place, calm_workspace, _ = attempt(0)
    assert total is not None
    calm = outcome(calm_place, calm_workspace)
    assert verified(calm_place).consistent
    records = []
    for number in chosen(total, most):
        met, place, workspace, again = attempt(number)
        assert met is None
        seen = files(place)
        assert verified(place).problems == ()  # whatever is visible is whole
        records.append(sum(key.endswith(".json") for key in seen))
        assert again() is not None
        after = files(place)
        assert {key: after[key] for key in seen} == seen  # whatever was visible stays as it was
        assert outcome(place, workspace) == calm
        found = verified(place)
        assert (found.consistent, found.unaccounted) == (True, ())
    assert records == sorted(records)
    assert len(set(records)) > 1


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> dict[str, Federation]:
    """A federation whose files are sealed, before each command."""
    plan = replace(PLAN, confidentiality=Confidentiality())
    begun = Federation(root=tmp_path_factory.mktemp("sealed") / "f", prepared=prepared, plan=plan).begin()
    trained = begun.copy(tmp_path_factory.mktemp("sealed-trained") / "f")
    trained.train()
    return {"train-round": begun, "aggregate": trained}


def contents(federation: Federation) -> dict[str, list[str]]:
    """Return what is inside the files of each record: sealing takes new keys each time."""
    records = {key: json.loads(data) for key, data in files_below(federation.drop).items() if key.endswith(".json")}
    return {key: [item["content_sha256"] for item in record.get("artifacts", ())] for key, record in records.items()}


@pytest.mark.parametrize("most", [EVERY, pytest.param(3, id="few")])
@pytest.mark.parametrize("command", ["train-round", "aggregate"])
def test_sealed_files_are_whole_or_not_there_and_open_after_a_second_run(
    tmp_path: Path, sealed: dict[str, Federation], command: str, most: int
) -> None:
    def attempt(number: int) -> tuple[int | None, Federation, Callable[[], int | None]]:
        federation = sealed[command].copy(tmp_path / str(number))
        work = partial(run_command, command, federation.root / COMMANDS[command])
        met = run_dying(number, work, tmp_path / f"said-{number}")
        return met, federation, partial(run_dying, 0, work, tmp_path / f"again-{number}")

    total, calm, _ = attempt(0)
    assert total is not None
    for number in chosen(total, most):
        met, federation, again = attempt(number)
        assert met is None
        seen = files_below(federation.drop)
        assert again() is not None
        assert contents(federation) == contents(calm)
        after = files_below(federation.drop)
        assert {key: after[key] for key in seen} == seen
        source = federation.source("coordinator")
        found = verify(VerifyRequest(source=source, replay=True), Environment(passphrase=no_passphrase))[0]
        assert (found.verified, found.problems, found.unaccounted) == (True, (), ())
        assert found.replayed == (1 if command == "aggregate" else 0)

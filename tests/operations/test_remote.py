"""A federation over SFTP and over S3, each party with its least rights, gives the very models that a local folder gives."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from fedcli.environment import Environment
from fedcli.exchange.store import StoreOptions
from fedcli.operations.admit import AdmitRequest, admit
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import aggregate
from fedcli.operations.evaluate import EvaluateRequest, evaluate, share
from fedcli.operations.init import InitRequest, init
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.status.overview import StatusRequest, status
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.party import Party
from fedcli.party.source import Source
from fedcli.progress import Silent
from fedcli.results import Status
from fedcli.workspace import Workspace, WorkspaceRole
from tests.fixtures.federation import PLAN, Clock, no_passphrase, prepared_data
from tests.fixtures.servers import BUCKET, READER, SITES, running_s3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.fixtures.servers import S3, Sshd


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How each party reaches the drop folder.

    Attributes:
        address: Of a party.
        options: Of a party.
        acting: Puts the party's credentials into the environment.
    """

    address: Callable[[str], str]
    options: Callable[[str], StoreOptions]
    acting: Callable[[str], AbstractContextManager[object]]


@contextmanager
def nothing_needed(_party: str) -> Iterator[None]:
    yield


@pytest.fixture
def sftp_way(sshd: Sshd) -> Way:
    if not sshd.apart:
        pytest.skip("an account for every party needs root and useradd")
    sshd.empty()
    return Way(address=sshd.address, options=sshd.options, acting=nothing_needed)


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3]:
    """A server of its own: records cannot be removed, and the drop folder has to be empty."""
    (tmp_path / "s3").mkdir()
    with running_s3(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def s3_way(s3: S3) -> Way:
    @contextmanager
    def acting(party: str) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in s3.environment(party).items():
                patch.setenv(name, value)
            yield

    return Way(address=lambda _party: f"s3://{BUCKET}", options=lambda _party: s3.options(), acting=acting)


def begin(root: Path, way: Way, prepared: dict[str, Path], environment: Environment) -> None:
    """Let a coordinator begin and every site that has data join."""
    coordinator = root / "coordinator"
    with way.acting("coordinator"):
        address, options = way.address("coordinator"), way.options("coordinator")
        fingerprint = init(
            InitRequest(root=coordinator, plan=PLAN, source=Source(address=address, options=options)), environment
        ).coordinator
    for site, data in prepared.items():
        with way.acting(site):
            request = JoinRequest(
                root=root / site,
                site=site,
                invitation=inspect(Source(address=way.address(site), coordinator=fingerprint, options=way.options(site))),
                prepared=str(data),
                share_dataset=True,
                share_models=True,
            )
            joined = join(request, environment)
        with way.acting("coordinator"):
            admit(AdmitRequest(root=coordinator, site=site, fingerprint=joined.fingerprint), environment)


def models(root: Path, way: Way, environment: Environment) -> list[str]:
    """Return the digests of the global models."""
    with way.acting("coordinator"), Party.at_work(root / "coordinator", WorkspaceRole.COORDINATOR, environment) as party:
        return [found.artifact.content_sha256 for found in party.ledger.rounds]


def run(root: Path, way: Way, prepared: dict[str, Path]) -> list[str]:
    """Run a federation of two rounds, one command after the other, and return the digests of its global models."""
    environment = Environment(progress=Silent(), passphrase=no_passphrase, clock=Clock())
    begin(root, way, prepared, environment)
    for _ in range(PLAN.rounds):
        for site in prepared:
            with way.acting(site):
                assert train_round(TrainRoundRequest(root=root / site), environment).status is Status.PUBLISHED
        with way.acting("coordinator"):
            assert aggregate(AggregateRequest(root=root / "coordinator"), environment).status is Status.PUBLISHED
    for site in prepared:
        with way.acting(site):
            assert train_round(TrainRoundRequest(root=root / site), environment).status is Status.FINISHED
            share(EvaluateRequest(root=root / site), environment)
    first = next(iter(prepared))
    with way.acting(first):
        assert evaluate(EvaluateRequest(root=root / first), environment).status is Status.PUBLISHED
        assert status(StatusRequest(source=Source.of_workspace(Workspace.open(root / first))), Environment()).confirmed
    return models(root, way, environment)


def until_the_end(command: str, workspace: Path, variables: dict[str, str], kills: Iterator[float]) -> int:
    """Run a party's command as a process, over and over until it says that all is done.

    Args:
        command: The command.
        workspace: The party's.
        variables: Its environment.
        kills: After how many seconds one process after the other is killed; when there are no more, none is.

    Returns:
        How many were killed.
    """
    num_killed = 0
    arguments = [sys.executable, "-m", "fedcli", command, "-C", str(workspace), "--wait", "--poll", "1", "--json"]
    while True:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables)
        try:
            out, said = process.communicate(timeout=next(kills, 300))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            num_killed += 1
            continue
        assert process.returncode == 0, said.decode()
        if json.loads(out)["status"] == Status.FINISHED:
            return num_killed


@pytest.fixture(scope="module")
def local_models(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> list[str]:
    root = tmp_path_factory.mktemp("local")
    way = Way(address=lambda _party: str(root / "drop"), options=lambda _party: StoreOptions(), acting=nothing_needed)
    return run(root, way, prepared)


def test_over_sftp_the_models_are_the_same_bit_for_bit(
    tmp_path: Path, sftp_way: Way, sshd: Sshd, prepared: dict[str, Path], local_models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, sftp_way, prepared) == local_models
    # an auditor who can only read verifies with what ssh itself is set up with
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / ".ssh" / "known_hosts").write_text(sshd.known_host)
    (tmp_path / "home" / ".ssh" / "config").write_text(f"Host *\nIdentityFile {sshd.keys[READER]}\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    result, _ = verify(VerifyRequest(source=Source(address=sftp_way.address(READER)), replay=True), Environment())
    assert result.consistent
    assert result.replayed == PLAN.rounds


def test_over_s3_the_models_are_the_same_bit_for_bit(
    tmp_path: Path, s3_way: Way, s3: S3, prepared: dict[str, Path], local_models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, s3_way, prepared) == local_models
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    with s3_way.acting(READER):
        result, _ = verify(VerifyRequest(source=Source(address=s3_way.address(READER)), replay=True), Environment())
    assert result.consistent
    assert result.replayed == PLAN.rounds


@pytest.fixture
def three(tmp_path: Path) -> dict[str, Path]:
    return prepared_data(tmp_path / "data", sites=SITES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sftp_way", "s3_way"])
def test_three_sites_at_once_one_of_them_killed_give_the_same_models(
    tmp_path: Path, request: pytest.FixtureRequest, name: str, three: dict[str, Path]
) -> None:
    """Three sites and a coordinator, each a process with an account of its own, one killed at random moments."""
    here = Way(address=lambda _: str(tmp_path / "drop"), options=lambda _: StoreOptions(), acting=nothing_needed)
    expected = run(tmp_path / "local", here, three)
    way: Way = request.getfixturevalue(name)
    environment = Environment(progress=Silent(), passphrase=no_passphrase)
    begin(tmp_path / "run", way, three, environment)
    generator = random.Random(20261124)
    moments = [generator.uniform(0.5, 2.5 + attempt) for attempt in range(6)]
    with ThreadPoolExecutor(4) as pool:
        parties = []
        for party in ("coordinator", *three):
            with way.acting(party):
                variables = {**os.environ, "OMP_NUM_THREADS": "1"}
            command = "aggregate" if party == "coordinator" else "train-round"
            kills = iter(moments if party == "valley" else ())
            parties.append(pool.submit(until_the_end, command, tmp_path / "run" / party, variables, kills))
        assert sum(party.result() for party in parties) >= 3
    assert models(tmp_path / "run", way, environment) == expected

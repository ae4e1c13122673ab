"""A federation over SFTP and over S3, each party with its least rights, gives the very models that a local folder gives."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from fedcli.exchange.store import StoreOptions
from fedcli.operations.admit import admit
from fedcli.operations.aggregate import aggregate
from fedcli.operations.evaluate import evaluate, share
from fedcli.operations.init import init
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.party import Environment, Party, Status
from fedcli.operations.status import status
from fedcli.operations.train_round import train_round
from fedcli.operations.verify import verify
from fedcli.progress import Silent
from fedcli.workspace import WorkspaceRole
from tests.exchange.servers import BUCKET, READER, running_s3
from tests.operations.federations import PLAN, SITES, Clock, no_passphrase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.exchange.servers import S3, Sshd


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


def at_once(command: str, root: Path, environment: Environment) -> None:
    work = train_round if command == "train-round" else aggregate
    assert work(root, environment).status is Status.PUBLISHED


def killed_often(command: str, root: Path, environment: Environment) -> None:
    """Run a command as a process, killed again and again, each time later, until it has come to its end."""
    arguments = [sys.executable, "-m", "fedcli", command, "-C", str(root)]
    for tenths in itertools.count(8, 10):
        process = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        try:
            _, said = process.communicate(timeout=tenths / 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            continue
        assert process.returncode == 0, said.decode()
        return


def run(
    root: Path, way: Way, prepared: dict[str, Path], conduct: Callable[[str, Path, Environment], None] = at_once
) -> list[str]:
    """Run a federation of two rounds and return the digests of its global models.

    Args:
        root: For the workspaces.
        way: To the drop folder.
        prepared: The sites' data.
        conduct: Runs train-round and aggregate in a workspace.
    """
    environment = Environment(progress=Silent(), passphrase=no_passphrase, clock=Clock())
    coordinator = root / "coordinator"
    with way.acting("coordinator"):
        address, options = way.address("coordinator"), way.options("coordinator")
        fingerprint = init(coordinator, PLAN, address, None, {}, environment, options).coordinator
    for site in SITES:
        with way.acting(site):
            request = JoinRequest(
                root=root / site,
                site=site,
                drop=way.address(site),
                prepared=str(prepared[site]),
                share_dataset=True,
                share_models=True,
                options=way.options(site),
            )
            joined = join(request, inspect(request.drop, fingerprint, request.options), environment)
        with way.acting("coordinator"):
            admit(coordinator, site, joined.fingerprint, environment)
    for _ in range(PLAN.rounds):
        for site in SITES:
            with way.acting(site):
                conduct("train-round", root / site, environment)
        with way.acting("coordinator"):
            conduct("aggregate", coordinator, environment)
    for site in SITES:
        with way.acting(site):
            assert train_round(root / site, environment).status is Status.FINISHED
            share(root / site, environment)
    with way.acting(SITES[0]):
        assert evaluate(root / SITES[0], environment).status is Status.PUBLISHED
        assert status(None, root / SITES[0]).confirmed
    with way.acting("coordinator"):
        party = Party.open(coordinator, WorkspaceRole.COORDINATOR, environment)
        party.folder.synchronise()
        return [found.artifact.content_sha256 for found in party.folder.ledger.rounds]


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
    result, _ = verify(sftp_way.address(READER), progress=Silent(), replay=True)
    assert result.consistent
    assert result.replayed == PLAN.rounds


def test_over_s3_the_models_are_the_same_bit_for_bit(
    tmp_path: Path, s3_way: Way, s3: S3, prepared: dict[str, Path], local_models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, s3_way, prepared) == local_models
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    with s3_way.acting(READER):
        result, _ = verify(s3_way.address(READER), progress=Silent(), replay=True)
    assert result.consistent
    assert result.replayed == PLAN.rounds


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sftp_way", "s3_way"])
def test_killed_again_and_again_the_models_are_the_same(
    tmp_path: Path, request: pytest.FixtureRequest, name: str, prepared: dict[str, Path], local_models: list[str]
) -> None:
    assert run(tmp_path / "run", request.getfixturevalue(name), prepared, killed_often) == local_models

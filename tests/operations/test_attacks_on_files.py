"""Whatever one site makes of a file or a folder of its own costs that site only, and every command of the others goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from fedcli.environment import now
from fedcli.errors import TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.store import LocalStore
from fedcli.operations.status.overview import StatusRequest, status
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.folder import Folder
from fedcli.party.history.history_reader import read_history
from fedcli.party.history.inspection import inspect_artifacts
from fedcli.party.source import Source
from fedcli.plan import Aggregation
from fedcli.progress import Silent
from fedcli.results import Status
from tests.fixtures.federation import PLAN, Clock, Federation
from tests.fixtures.files import UNPRIVILEGED
from tests.fixtures.places import on_s3, on_sftp
from tests.fixtures.servers import running_s3
from tests.fixtures.tampering import artifact_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.exchange.store import Store
    from tests.fixtures.servers import Sshd

SITES = ("ash", "birch", "cedar")
KEY = layout.update("cedar", 1)


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    """Three sites have sent, just now: the processes below go by this machine's clock."""
    plan = replace(PLAN, rounds=3, aggregation=Aggregation(quorum=2, deadline_hours=24.0))
    made = Federation(root=tmp_path / "f", by_hand=SITES, plan=plan, clock=Clock(now())).begin()
    for site in SITES:
        made.send(site, 1)
    return made


def link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def link_folder(path: Path, target: str) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to(target)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


ATTACKS: dict[str, Callable[[Path], None]] = {  # on the folder of a round
    "a record that is a link to an endless device": lambda at: link(at / "update.json", "/dev/zero"),
    "a record that is a link into /proc": lambda at: link(at / "update.json", "/proc/self/mem"),
    "a record that is a link to another site's": lambda at: link(at / "update.json", "../../birch/round-0001/update.json"),
    "a record that is a link to itself": lambda at: link(at / "update.json", "update.json"),
    "a record that is a pipe": lambda at: pipe(at / "update.json"),
    "a record that is a folder": lambda at: make_folder(at / "update.json"),
    "a signature that is a link to an endless device": lambda at: link(next(at.glob("*.sig")), "/dev/zero"),
    "a signature that is a pipe": lambda at: pipe(next(at.glob("*.sig"))),
    "a signature that is a folder": lambda at: make_folder(next(at.glob("*.sig"))),
    "an artifact that is a link to an endless device": lambda at: link(next(at.glob("*.safetensors")), "/dev/zero"),
    "an artifact that is a pipe": lambda at: pipe(next(at.glob("*.safetensors"))),
    "an artifact that is a folder": lambda at: make_folder(next(at.glob("*.safetensors"))),
    "a round that is a link into /proc": lambda at: link_folder(at, "/proc/self/task"),
    "a round that is a link to the drop folder": lambda at: link_folder(at, "../../.."),
    "a site that is a link to another": lambda at: link_folder(at.parent, "birch"),
    "a link beside the round's files": lambda at: (at / "x.json").symlink_to("/dev/zero"),
    "a pipe beside the round's files": lambda at: os.mkfifo(at / "x.json"),
}
HARMLESS = {"a link beside the round's files", "a pipe beside the round's files"}


@pytest.mark.parametrize("name", ATTACKS)
def test_on_this_machine(federation: Federation, name: str) -> None:
    ATTACKS[name](federation.drop / "sites/cedar/round-0001")
    source = Source(address=str(federation.drop), coordinator=federation.fingerprint)
    expect_only_cedar(federation, source, harmless=name in HARMLESS)


@pytest.mark.parametrize("name", ATTACKS)
def test_over_sftp(sshd: Sshd, federation: Federation, name: str) -> None:
    place = on_sftp(sshd)
    place.take_over(federation.drop, [federation.coordinator])
    drop = sshd.root / place.address.partition(f":{sshd.port}/")[2]
    ATTACKS[name](drop / "sites/cedar/round-0001")
    source = Source(address=place.address, options=place.options, coordinator=federation.fingerprint)
    expect_only_cedar(federation, source, harmless=name in HARMLESS)
    shutil.rmtree(drop)  # no other test expects links on this server


def expect_only_cedar(federation: Federation, source: Source, *, harmless: bool) -> None:
    """Let everybody look and the coordinator aggregate: only cedar is concerned."""
    seen = status(StatusRequest(source=source), federation.environment)
    found, history = verify(VerifyRequest(source=source), federation.environment)
    for problems in (seen.problems, found.problems):
        assert {problem.key.split("/")[1] for problem in problems} <= {"cedar"}
    assert {("ash", 1), ("birch", 1)} <= history.updates.keys()
    result = federation.aggregate()
    if harmless:
        assert (result.status, result.used) == (Status.PUBLISHED, SITES)
        return
    assert [item.site for item in result.rejected] + list(result.absent) == ["cedar"]
    federation.clock.pass_hours(25)
    closed = federation.aggregate()
    assert (closed.status, closed.used) == (Status.PUBLISHED, ("ash", "birch"))


@pytest.mark.parametrize("below", ["sites/cedar", "sites/cedar/round-0001", "sites/cedar/models"])
def test_a_folder_that_cannot_be_listed_is_named_and_stops_nobody(federation: Federation, below: str) -> None:
    path = federation.drop / below
    path.mkdir(exist_ok=True)
    path.chmod(0o300 if below.endswith("models") else 0)
    seen = as_anybody("status", "-C", str(federation.coordinator))
    assert {"key": "sites/cedar/", "message": f"{below}: permission denied"} in seen["problems"]
    found = as_anybody("verify", str(federation.drop), "--coordinator-key", federation.fingerprint, code=6)
    assert {problem["key"].split("/")[1] for problem in found["problems"]} == {"cedar"}
    done = as_anybody("aggregate", "-C", str(federation.coordinator))
    assert set(done["used"]) >= {"ash", "birch"}
    path.chmod(0o755)
    assert as_anybody("verify", str(federation.drop), "--coordinator-key", federation.fingerprint)["problems"] == []


def test_a_folder_that_is_hidden_after_its_update_was_used_stops_nobody(federation: Federation) -> None:
    federation.aggregate()
    path = federation.drop / "sites/cedar"
    path.chmod(0)
    coordinator = str(federation.coordinator)
    seen = as_anybody("status", "-C", coordinator)
    assert {problem["key"].split("/")[1] for problem in seen["problems"]} == {"cedar"}
    found = as_anybody("verify", str(federation.drop), "--coordinator-key", federation.fingerprint, code=6)
    assert f"{KEY}: missing" in " ".join(problem["message"] for problem in found["problems"])
    removed = as_anybody("remove", "cedar", "-C", coordinator, "--yes")
    assert removed["from_round"] == 3, "a site with a hidden folder may have sent its update of round 2"
    path.chmod(0o755)


def as_anybody(*words: str, code: int = 0) -> dict[str, Any]:
    """Run a command as a process for which permissions hold: root reads everything."""
    command = [*UNPRIVILEGED, sys.executable, "-m", "fedcli", *words, "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


# ------------------------------------------------------------------------------------------------------------- vanishing


class Vanishing(LocalStore):
    """A drop folder in which cedar removes each of its files just before it is opened."""

    def _vanish(self, key: str) -> None:
        if key.startswith("sites/cedar/"):
            (self._root / key).unlink(missing_ok=True)

    def read(self, key: str, limit: int) -> bytes:
        self._vanish(key)
        return super().read(key, limit)

    def fetch(self, key: str, target: Path, limit: int) -> Any:
        self._vanish(key)
        return super().fetch(key, target, limit)


class Removing:
    """A drop folder from which cedar's artifacts are removed just before they are copied."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def fetch(self, key: str, target: Path, limit: int) -> Any:
        if key.startswith("sites/cedar/"):
            self._store.remove_artifact(key)
        return self._store.fetch(key, target, limit)


@pytest.mark.parametrize("kind", ["sftp", "s3"])
def test_an_artifact_that_vanishes_from_a_server(request: pytest.FixtureRequest, federation: Federation, kind: str) -> None:
    place = on_sftp(request.getfixturevalue("sshd")) if kind == "sftp" else on_s3(request.getfixturevalue("s3"))
    place.take_over(federation.drop, [])
    drop = Folder(cast("Store", Removing(place.store())), coordinator=federation.fingerprint, cache=federation.root / "cache")
    reading = read_history(drop)[1]
    inspect_artifacts(reading, Silent())
    key = artifact_path(federation, KEY).relative_to(federation.drop).as_posix()
    assert [(problem.key, problem.message) for problem in reading.problems] == [
        (key, f"{key}: not in the drop folder {place.address}")
    ]


@pytest.mark.parametrize("what", ["record", "artifact"])
def test_a_key_of_a_bucket_that_may_not_be_read(tmp_path: Path, federation: Federation, what: str) -> None:
    path = artifact_path(federation, KEY) if what == "artifact" else federation.drop / KEY
    key = path.relative_to(federation.drop).as_posix()
    (tmp_path / "s3").mkdir()
    with running_s3(tmp_path / "s3", unreadable=f"sites/north/denied/{key}") as server:
        place = on_s3(server, "denied")
        place.take_over(federation.drop, [federation.coordinator])
        with place.acting():
            result = federation.aggregate()
            source = Source(address=place.address, options=place.options, coordinator=federation.fingerprint)
            found, history = verify(VerifyRequest(source=source), federation.environment)
    assert result.used == ("ash", "birch")
    assert [item.site for item in result.rejected] == ["cedar"]
    assert "403 Forbidden, AccessDenied" in result.rejected[0].reason
    assert [problem.key for problem in found.problems] == [key]
    assert {("ash", 1), ("birch", 1)} <= history.updates.keys()


class VanishingArtifacts(Vanishing):
    """Only artifacts vanish: those that are copied, and with `plain` those that are read in place."""

    plain = False

    def read(self, key: str, limit: int) -> bytes:
        return LocalStore.read(self, key, limit)

    def local_path(self, key: str) -> Path | None:
        path = super().local_path(key) if self.plain else None
        self._vanish(key if self.plain else "")
        return path


class VanishingInPlace(VanishingArtifacts):
    """Artifacts vanish that are read in place."""

    plain = True


def folder_on(store: LocalStore, federation: Federation) -> Folder:
    return Folder(store, coordinator=federation.fingerprint, cache=federation.root / "cache")


def test_a_record_that_vanishes_after_it_was_listed(federation: Federation) -> None:
    history, _ = read_history(folder_on(Vanishing(federation.drop), federation))
    assert set(history.updates) == {("ash", 1), ("birch", 1)}
    assert [problem.key for problem in history.problems] == [KEY]


@pytest.mark.parametrize("kind", [VanishingArtifacts, VanishingInPlace])
def test_an_artifact_that_vanishes_after_its_size_was_read(federation: Federation, kind: type[LocalStore]) -> None:
    reading = read_history(folder_on(kind(federation.drop), federation))[1]
    key = artifact_path(federation, KEY).relative_to(federation.drop).as_posix()
    inspect_artifacts(reading, Silent())
    assert [problem.key for problem in reading.problems] == [key]


@pytest.mark.parametrize("kind", [VanishingArtifacts, VanishingInPlace])
def test_an_error_of_the_party_and_no_traceback(federation: Federation, kind: type[LocalStore]) -> None:
    drop = folder_on(kind(federation.drop), federation)
    drop.synchronise()
    update = drop.update("cedar", 1)
    assert update is not None
    with pytest.raises((TrustError, UnreadableError), match="update-"):
        drop.artifacts.check(update, update.artifact)

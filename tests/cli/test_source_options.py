"""Commands that need no workspace reach a drop folder elsewhere by the options that init and join take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedcli.exchange.store import LocalStore
from tests.fixtures.command import run, succeed
from tests.fixtures.history import complete_history
from tests.fixtures.places import Place, on_s3, on_sftp
from tests.fixtures.signing import signer_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fixtures.servers import Sshd

COORDINATOR = ("--coordinator-key", signer_of("coordinator").verify_key.fingerprint)
OTHER_FINGERPRINT = "SHA256:" + "a" * 43


@pytest.fixture(autouse=True)
def bare_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No known hosts, keys or agent of whoever runs the tests."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture(params=["sftp", "s3"])
def new_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Place]:
    """Make empty places on a server."""
    make = {"sftp": on_sftp, "s3": on_s3}[request.param]
    server = request.getfixturevalue({"sftp": "sshd", "s3": "s3"}[request.param])
    for name, value in (make(server).environment or {}).items():
        if name != "AWS_ENDPOINT_URL":  # the options are to name it
            monkeypatch.setenv(name, value)
    return lambda: make(server)


def flags(place: Place) -> tuple[str, ...]:
    if place.environment and "AWS_ENDPOINT_URL" in place.environment:
        return ("--endpoint", place.environment["AWS_ENDPOINT_URL"])
    return ("--host-key", place.options.host_key, "--ssh-key", str(place.options.ssh_key))


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    (tmp_path / "drop").mkdir()
    complete_history().publish(LocalStore(tmp_path / "drop"))
    return tmp_path / "drop"


def test_without_a_workspace(tmp_path: Path, drop: Path, new_place: Callable[[], Place]) -> None:
    place, other = new_place(), new_place()
    place.take_over(drop, [])
    there = (place.address, *flags(place))
    verified = succeed("verify", *there, *COORDINATOR)
    assert (verified["status"], verified["records"]) == ("verified", succeed("verify", drop)["records"])
    assert succeed("status", *there)["round"] == verified["round"]
    assert succeed("report", *there, "--out", tmp_path / "report", *COORDINATOR)["verified"]
    sent = succeed("export", tmp_path / "a.tar", *there, *COORDINATOR)
    assert sent["sha256"] == succeed("export", tmp_path / "b.tar", drop)["sha256"]
    received = succeed("import", tmp_path / "a.tar", other.address, *flags(other), *COORDINATOR)
    assert (received["status"], received["records"]) == ("published", sent["records"])
    assert succeed("verify", other.address, *flags(other), *COORDINATOR)["verified"]
    examined = succeed("doctor", *there)
    assert [item["outcome"] for item in examined["findings"] if item["name"] == "drop folder"] == ["ok"]


def test_a_server_that_was_not_vouched_for_is_refused(drop: Path, sshd: Sshd) -> None:
    place = on_sftp(sshd)
    place.take_over(drop, [])
    for arguments, code in (
        (flags(place)[2:], 5),
        (("--host-key", OTHER_FINGERPRINT, *flags(place)[2:]), 5),
        (("--host-key", "SHA256:short", *flags(place)[2:]), 2),
        (("--host-key", place.options.host_key, "--ssh-key", "nowhere"), 3),
    ):
        assert run("verify", place.address, *arguments).returncode == code, arguments


@pytest.mark.parametrize("command", [("status",), ("export", "a.tar"), ("import", "a.tar")])
def test_the_workspaces_own_drop_folder_is_reached_as_it_says(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = run(*command, "--endpoint", "https://storage.hospital.example", folder=tmp_path)
    assert done.returncode == 2
    assert "workspace.toml" in done.stderr

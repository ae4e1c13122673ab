"""What all tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.fixtures.federation import Federation, prepared_data
from tests.fixtures.servers import S3, Sshd, running_s3, running_sshd

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path


settings.register_profile("tests", deadline=None)  # machines are slow at times
settings.load_profile("tests")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything is installed (FEDCLI_NO_SKIPS, as in .ci/run), a skip is a failure: it would hide a missing server."""
    report = yield
    if report.skipped and os.environ.get("FEDCLI_NO_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped though FEDCLI_NO_SKIPS is set: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return prepared_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def begun_once(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> Federation:
    return Federation(root=tmp_path_factory.mktemp("begun") / "f", prepared=prepared).begin()


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory, begun_once: Federation) -> Federation:
    federation = begun_once.copy(tmp_path_factory.mktemp("trained") / "f")
    federation.train()
    return federation


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory, trained_once: Federation) -> Federation:
    federation = trained_once.copy(tmp_path_factory.mktemp("finished") / "f")
    federation.aggregate()
    federation.train()
    federation.aggregate()
    federation.train()
    return federation


@pytest.fixture
def begun(tmp_path: Path, begun_once: Federation) -> Federation:
    """Both sites are admitted; nothing is trained."""
    return begun_once.copy(tmp_path / "begun")


@pytest.fixture
def trained(tmp_path: Path, trained_once: Federation) -> Federation:
    """Both sites have published their update of round 1."""
    return trained_once.copy(tmp_path / "trained")


@pytest.fixture
def finished(tmp_path: Path, finished_once: Federation) -> Federation:
    """Both rounds are aggregated, and both sites know it."""
    return finished_once.copy(tmp_path / "finished")

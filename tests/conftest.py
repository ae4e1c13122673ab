"""What all tests share."""

from __future__ import annotations

import os
import shutil
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.fixtures.federation import Federation, prepared_data
from tests.fixtures.servers import S3, Sshd, running_s3, running_sshd

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


settings.register_profile("tests", deadline=None)  # machines are slow at times
settings.load_profile("tests")

_MEMORY = Path("/dev/shm")  # noqa: S108 - only its place; mkdtemp makes the folder
_ROOM = 8 << 30
"""Free bytes: two tests that kill a command at every point, at the same time, took 5 GB."""


def pytest_configure() -> None:
    """Keep temporary files in memory where there is room: on a disk, fsync and unlink are most of a test's time."""
    if "TMPDIR" in os.environ or not _MEMORY.is_dir():  # also in the processes of a run, whose environment is this one's
        return
    place = os.statvfs(_MEMORY)
    if place.f_bavail * place.f_frsize >= _ROOM and not place.f_flag & os.ST_NOEXEC:
        own = tempfile.mkdtemp(prefix="fedcli-tests-", dir=_MEMORY)
        os.environ["TMPDIR"] = tempfile.tempdir = own
        after_its_own = -200  # multiprocessing removes a folder in there with a priority of -100
        Finalize(None, shutil.rmtree, (own,), {"ignore_errors": True}, exitpriority=after_its_own)


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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch  # noqa: PLC0415 - takes seconds, and few tests ask for it

        if not torch.cuda.is_available():
            pytest.skip("no GPU that PyTorch can use through CUDA")


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

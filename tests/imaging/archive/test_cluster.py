"""A real Dask scheduler with two workers: the same bytes as on one machine, and what ends a worker costs one file."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import UsageError
from fedcli.imaging.archive.cluster import in_order
from fedcli.imaging.archive.image_archive import ImageArchive, PatientRule
from fedcli.imaging.dataset import prepared_dataset
from fedcli.imaging.dataset.index import Pseudonyms
from fedcli.imaging.preparation import DatasetRequest, LabelFiles, prepare
from fedcli.plan import Plan
from fedcli.progress import Silent
from tests.fixtures.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Return the address of a scheduler with two workers, processes of one thread each."""
    distributed = pytest.importorskip("distributed")
    settings = {"distributed.scheduler.allowed-failures": 1, "distributed.worker.memory.target": False}
    with (
        __import__("dask").config.set(settings),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
    ):
        yield cluster.scheduler_address


def work(number: int) -> int:
    """Square a number; end the process at 5."""
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


@pytest.mark.slow
def test_same_bytes_as_one_process(address: str, cbis: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("patient_id,breast_density\nP_00173,2\nP_00820,3\n")
    local = DatasetRequest(
        archive=ImageArchive(folder=cbis, patient_rule=PatientRule(pattern=r"(P_\d+)"), workers=1),
        labels=LabelFiles(table=tmp_path / "labels.csv"),
        preparation=Plan(name="test").preparation,
        out=tmp_path / "local",
    )
    spread = replace(local, archive=replace(local.archive, cluster=address), out=tmp_path / "spread")
    pseudonyms = Pseudonyms(secret=bytes(32))
    for request in (local, spread):
        assert prepare(request, pseudonyms=pseudonyms, progress=Silent()).images == 8
    for name in prepared_dataset.FILES:
        assert (local.out / name).read_bytes() == (spread.out / name).read_bytes(), name


@pytest.mark.slow
def test_order_and_what_ends_a_worker(address: str) -> None:
    results = list(in_order(work, range(12), address=address, lost=-1))
    assert results == [-1 if number == 5 else number**2 for number in range(12)]


def test_no_scheduler_there() -> None:
    with pytest.raises(UsageError, match="no Dask scheduler answers") as caught:
        list(in_order(work, range(2), address=f"tcp://127.0.0.1:{free_port()}", lost=-1, patience=1))
    assert "dask scheduler" in caught.value.hint

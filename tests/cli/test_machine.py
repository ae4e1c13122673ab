"""A disk or a memory that does not suffice is said as such; nothing is lost, and there are the same bits once there is room."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fedcli import machine_errors
from fedcli.errors import MachineError
from fedcli.operations.doctor import Outcome, workspace_checks
from fedcli.operations.doctor.findings import Examination
from fedcli.private_files import exclusive
from fedcli.workspace import Settings, Workspace, WorkspaceRole
from tests.fixtures.command import COMMAND, succeed

if TYPE_CHECKING:
    from tests.fixtures.federation import Federation


def refused(*arguments: str | Path) -> tuple[int, dict[str, str], str]:
    """Run a command whose files may not grow beyond 200 kB, less than a model: to a program the same as a disk without space."""
    limit = ("bash", "-c", 'ulimit -f 200; exec "$@"', "bash")
    done = subprocess.run(
        [*limit, *COMMAND, *map(str, arguments), "--json"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_site_trains_once_there_is_room(begun: Federation, tmp_path: Path) -> None:
    other = begun.copy(tmp_path / "other")
    code, found, said = refused("train-round", "-C", begun.site("north"))
    assert (code, found["error"]) == (10, "MachineError"), said
    assert f"{os.strerror(errno.EFBIG)}; " in found["message"]
    assert f"MB are free in {begun.site('north')}" in found["message"]
    assert "make room" in found["hint"]
    assert "Traceback" not in said
    assert not list(begun.drop.glob("sites/north/round-0001/*"))
    assert digest(begun, "train-round", "-C", begun.site("north")) == digest(other, "train-round", "-C", other.site("north"))


def test_a_round_is_aggregated_once_there_is_room(begun: Federation, tmp_path: Path) -> None:
    begun.train()
    other = begun.copy(tmp_path / "other")
    code, found, said = refused("aggregate", "-C", begun.coordinator)
    assert (code, found["error"]) == (10, "MachineError"), said
    assert "Traceback" not in said
    assert not (begun.drop / "coordinator/round-0001").exists()
    assert not list(begun.coordinator.rglob("*.partial"))
    assert digest(begun, "aggregate", "-C", begun.coordinator) == digest(other, "aggregate", "-C", other.coordinator)


def digest(federation: Federation, *arguments: str | Path) -> set[str]:
    """Run a command, and return the names, digests included, of all artifacts of round 1."""
    assert succeed(*arguments)["status"] == "published"
    return {path.name for path in federation.drop.glob("*/**/round-0001/*.safetensors")}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_refusal_names_the_file_and_a_remedy(number: int, tmp_path: Path) -> None:
    told = machine_errors.refusal(OSError(number, os.strerror(number), str(tmp_path / "file")), tmp_path)
    assert told is not None
    assert str(told).startswith(f"{tmp_path}/file: {os.strerror(number)}")
    assert told.hint


def test_no_room_for_temporary_files_is_a_full_disk(tmp_path: Path) -> None:
    told = machine_errors.refusal(
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), tmp_path, tmp_path
    )
    assert told is not None
    assert str(told).count("MB are free in") == 1
    assert "make room" in told.hint


def test_memory_that_does_not_suffice_is_said_as_such(begun: Federation) -> None:
    """A layer asks torch for more than any machine has."""
    program = "import torch\ntorch.nn.Conv2d.forward = lambda *_: torch.empty(1 << 50)\nfrom fedcli.__main__ import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", program, "train-round", "-C", str(begun.site("north")), "--json"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 10, done.stderr
    assert "this machine has not enough memory: DefaultCPUAllocator: can't allocate memory" in json.loads(done.stdout)["message"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 1.4 GiB for an array"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 7.79 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_whoever_says_it(error: Exception) -> None:
    told = machine_errors.explained(error, Path())
    assert (type(told), told.exit_code) == (MachineError, 10)
    assert "workspace.toml" in told.hint


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), OSError("no number"), RuntimeError("a bug"), KeyError()]
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        machine_errors.explained(error, Path())
    assert caught.value is error


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is left behind would stop every later command, and no lock at all would let two run at once."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(MachineError, match="the file system there has no locks") as caught, exclusive(tmp_path / "lock"):
        pass
    assert "local disk" in caught.value.hint
    exam = Examination()
    workspace_checks.lock(
        exam, Workspace(tmp_path, Settings(role=WorkspaceRole.SITE, name="a", drop="d", coordinator="SHA256:" + "A" * 43))
    )
    assert (exam.findings[0].outcome, exam.findings[0].remedy) == (Outcome.FAIL, caught.value.hint)

"""A disk of this machine that is full, or not for this account: said as such, nothing lost, the same bits once there is room."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fedcli import disk
from tests.cli.processes import COMMAND, succeed

if TYPE_CHECKING:
    from tests.operations.federations import Federation


def refused(kilobytes: int, *arguments: str | Path) -> tuple[int, dict[str, str], str]:
    """Run a command whose files may not grow beyond so many kilobytes: to a program the same as a disk without space."""
    limit = ("bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash")
    done = subprocess.run(
        [*limit, *COMMAND, *map(str, arguments), "--json"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("kilobytes", [4, 100, 200])
def test_a_site_trains_once_there_is_room(kilobytes: int, begun: Federation, tmp_path: Path) -> None:
    other = begun.copy(tmp_path / "other")
    code, found, said = refused(kilobytes, "train-round", "-C", begun.site("north"))
    assert (code, found["error"]) == (10, "DiskError"), said
    assert f"{os.strerror(errno.EFBIG)}; " in found["message"]
    assert f"MB are free in {begun.site('north')}" in found["message"]
    assert "make room" in found["hint"]
    assert "Traceback" not in said
    assert not list(begun.drop.glob("sites/north/round-0001/*"))
    assert digest(begun, "train-round", "-C", begun.site("north")) == digest(other, "train-round", "-C", other.site("north"))


@pytest.mark.parametrize("kilobytes", [4, 200])
def test_a_round_is_aggregated_once_there_is_room(kilobytes: int, begun: Federation, tmp_path: Path) -> None:
    begun.train()
    other = begun.copy(tmp_path / "other")
    code, found, said = refused(kilobytes, "aggregate", "-C", begun.coordinator)
    assert (code, found["error"]) == (10, "DiskError"), said
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
    told = disk.refusal(OSError(number, os.strerror(number), str(tmp_path / "file")), tmp_path)
    assert told is not None
    assert str(told).startswith(f"{tmp_path}/file: {os.strerror(number)}")
    assert told.hint


def test_no_room_for_temporary_files_is_a_full_disk(tmp_path: Path) -> None:
    told = disk.refusal(FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), tmp_path, tmp_path)
    assert told is not None
    assert str(told).count("MB are free in") == 1
    assert "make room" in told.hint


def test_other_errors_stay_what_they_are() -> None:
    assert disk.refusal(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), Path()) is None
    assert disk.refusal(OSError("no number"), Path()) is None

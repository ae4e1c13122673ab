"""`prepare` as its users run it: a check, a try, an interruption at the terminal, a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydicom import uid

from fedcli.imaging.dataset import prepared_dataset
from fedcli.plan import template
from tests.fixtures.command import COMMAND, run, succeed
from tests.fixtures.dicom_files import write_encoded

if TYPE_CHECKING:
    from pathlib import Path

FILES = 24
SECRET = "out.secret"  # noqa: S105 - a file's name
LEFT_BEHIND = {".out.cache", ".out.lock", SECRET}
"""What an interrupted run leaves beside `out`: its cache, a lock file that no process holds, and the secret."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an archive of JPEG 2000 files, a label table and a plan."""
    root = tmp_path_factory.mktemp("prepare")
    (root / "archive").mkdir()
    for number in range(FILES):
        ramp = np.linspace(0, 3000, 800 * 600).reshape(800, 600)
        pixels = (ramp + np.random.default_rng(number).integers(0, 1000, ramp.shape)).astype(np.uint16)
        write_encoded(root / "archive" / f"p{number:02}", pixels, uid.JPEG2000Lossless, BitsStored=12)
    (root / "archive" / "notes.txt").write_text("not DICOM")
    rows = "".join(f"p{number:02},{'abcd'[number % 4]}\n" for number in range(FILES))
    (root / "labels.csv").write_text(f"patient,density\n{rows}absent,a\n")
    (root / "plan.toml").write_text(template())
    return root


def gone(group: int) -> bool:
    """Tell whether a group's processes end within seconds: Python's own resource tracker ends a moment after its parent."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def arguments(folder: Path, out: Path) -> list[str]:
    files = ["--labels", str(folder / "labels.csv"), "--plan", str(folder / "plan.toml")]
    return ["prepare", str(folder / "archive"), *files, "--out", str(out), "--workers", "1"]


def test_a_check_writes_nothing(folder: Path, tmp_path: Path) -> None:
    preview = succeed(*arguments(folder, tmp_path / "out"), "--check")["preview"]
    assert (preview["files"], preview["images"], preview["patients"], preview["class_images"]) == (
        FILES + 1,
        FILES,
        FILES,
        [6, 6, 6, 6],
    )
    (syntax,) = preview["syntaxes"]
    assert (syntax["title"], syntax["files"], syntax["megapixels"]) == ("JPEG 2000 lossless", FILES, pytest.approx(FILES * 0.48))
    assert preview["seconds"] > 0
    assert preview["rejections"] == [["not a DICOM file", 1]]
    assert [fault["rows"] for fault in preview["label_faults"]] == [1]
    assert list(tmp_path.iterdir()) == []


def test_a_check_prints_what_it_found(folder: Path, tmp_path: Path) -> None:
    done = run(*arguments(folder, tmp_path / "out"), "--check")
    assert done.returncode == 0
    for text in ("JPEG 2000 lossless", "Would be left out", "not a DICOM file", f"{FILES} images of {FILES} patients"):
        assert text in done.stdout


def test_a_try_of_some_files(folder: Path, tmp_path: Path) -> None:
    result = succeed(*arguments(folder, tmp_path / "out"), "--limit", "5")
    assert result["files"] == 5
    assert result["images"] + result["rejected"] == 5


@pytest.mark.parametrize("sign", [".out.cache", pytest.param(".out.cache-journal", marks=pytest.mark.slow)])
def test_an_interruption_is_clean_and_the_next_run_goes_on(sign: str, folder: Path, tmp_path: Path) -> None:
    """Ctrl-C reaches the command and its processes alike; the second sign is that something was read."""
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*COMMAND, *arguments(folder, out)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / sign).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert {path.name for path in tmp_path.iterdir()} == LEFT_BEHIND
    assert gone(process.pid)
    result = succeed(*arguments(folder, out))
    (tmp_path / "scratch.secret").write_bytes((tmp_path / SECRET).read_bytes())
    assert succeed(*arguments(folder, tmp_path / "scratch"))["digest"] == result["digest"]
    for name in prepared_dataset.FILES:
        assert (out / name).read_bytes() == (tmp_path / "scratch" / name).read_bytes(), name


@pytest.mark.parametrize("kilobytes", [pytest.param(8, marks=pytest.mark.slow), 1000])
def test_a_full_disk_is_reported_and_nothing_is_half_written(kilobytes: int, folder: Path, tmp_path: Path) -> None:
    """No file may grow beyond this many kilobytes, which has the same effect as a full disk."""
    out = tmp_path / "out"
    command = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash", *COMMAND, *arguments(folder, out), "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert "cannot be" in json.loads(done.stdout)["message"]
    assert "Traceback" not in done.stderr
    assert not out.exists()
    assert not (tmp_path / ".out.partial").exists()
    assert succeed(*arguments(folder, out))["images"] == FILES

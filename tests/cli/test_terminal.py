"""Terminals, pipes and editors as they are: other character sets, a full disk, a reader that goes, a byte order mark."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedcli import disk
from tests.fixtures.federation import begun_by_hand


@pytest.fixture(scope="module")
def drop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the drop folder of a federation of one round."""
    federation = begun_by_hand(tmp_path_factory.mktemp("f"), "ash", "birch", rounds=1)
    federation.run(1)
    return federation.drop


def command(*arguments: str, **environment: str) -> list[str]:
    settings = [f"{name}={value}" for name, value in environment.items()]
    return ["env", *settings, sys.executable, "-m", "fedcli", *arguments]


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
@pytest.mark.parametrize("arguments", ["status", "verify", "init --template"])
def test_a_terminal_of_another_character_set_ends_no_command(encoding: str, arguments: str, drop: Path) -> None:
    words = [*arguments.split(), *([] if "--template" in arguments else [str(drop)])]
    done = subprocess.run(command(*words, PYTHONIOENCODING=encoding), capture_output=True, timeout=60, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    if "--template" not in arguments:  # a plan is UTF-8 everywhere
        done.stdout.decode(encoding)


@pytest.mark.parametrize(
    "arguments", ["report {drop} --out {out}", "doctor {drop}", "export {out}.tar {drop}", "status {drop} --json"]
)
def test_a_terminal_that_knows_only_ascii_ends_no_other_command(arguments: str, drop: Path, tmp_path: Path) -> None:
    words = arguments.format(drop=drop, out=tmp_path / "out").split()
    done = subprocess.run(
        command(*words, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0"), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    done.stdout.decode("ascii")


@pytest.mark.parametrize("columns", ["20", "40", "200"])
def test_verify_prints_the_whole_head_whatever_the_width(columns: str, drop: Path) -> None:
    done = subprocess.run(command("verify", str(drop), COLUMNS=columns), capture_output=True, text=True, timeout=60, check=True)
    (head,) = [line for line in done.stdout.splitlines() if line.startswith("head: ")]
    assert len(head.removeprefix("head: ")) == 64
    expecting = command("verify", str(drop), "--expect-head", head.removeprefix("head: "))
    subprocess.run(expecting, capture_output=True, timeout=60, check=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_output_to_a_full_disk_is_told(drop: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("status", str(drop)), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (10, "fedcli: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("arguments", ["init --template", "status {drop}", "verify {drop}", "status {drop} --json", "--help"])
def test_a_reader_that_goes_is_no_error(arguments: str, drop: Path) -> None:
    words = arguments.format(drop=drop).split()
    program = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    assert program.stderr.read() == b""
    assert program.wait(timeout=60) == 0


def test_a_byte_order_mark_in_plan_and_settings_does_not_matter(tmp_path: Path) -> None:
    template = subprocess.run(command("init", "--template"), capture_output=True, timeout=60, check=True).stdout
    plan = tmp_path / "plan.toml"
    small = template.replace(b'name = "densenet121"', b'name = "small"')
    plan.write_bytes(b"\xef\xbb\xbf" + small)
    coordinator, folder = tmp_path / "c", tmp_path / "drop"
    begin = command("init", "-C", str(coordinator), "--plan", str(plan), "--drop", str(folder))
    subprocess.run(begin, timeout=60, check=True, capture_output=True)
    settings = coordinator / "workspace.toml"
    settings.write_bytes(b"\xef\xbb\xbf" + settings.read_bytes())
    subprocess.run(command("status", "-C", str(coordinator)), timeout=60, check=True, capture_output=True)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_folder_that_the_file_system_does_not_flush(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems refuse to flush folders; a failing disk is another matter, and so is a file."""

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OSError, match=os.strerror(number)):
        disk.sync(file)
    if number == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(number)):
            disk.sync(tmp_path)
    else:
        disk.sync(tmp_path)

"""Where the passphrase of an encrypted signing key comes from when nobody is there to type it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_PRINT = "from fedcli.cli.passphrase import key_passphrase; print(key_passphrase())"


def passphrase(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PRINT], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fedcli-passphrase"
    path.write_text("a secret\nand a remark\n")
    path.chmod(0o600)
    return path


def test_it_is_the_first_line_of_a_file(file: Path) -> None:
    assert passphrase(FEDCLI_KEY_PASSPHRASE_FILE=str(file)).stdout == "a secret\n"


def test_it_is_a_credential_of_systemd(file: Path) -> None:
    assert passphrase(CREDENTIALS_DIRECTORY=str(file.parent)).stdout == "a secret\n"


def test_the_variable_comes_first(file: Path) -> None:
    given = {"FEDCLI_KEY_PASSPHRASE": "another", "FEDCLI_KEY_PASSPHRASE_FILE": str(file)}
    assert passphrase(**given).stdout == "another\n"


def test_a_file_that_others_can_read_is_refused(file: Path) -> None:
    file.chmod(0o640)
    assert "can be read by other accounts" in passphrase(FEDCLI_KEY_PASSPHRASE_FILE=str(file)).stderr


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path}/gone: the passphrase" in passphrase(FEDCLI_KEY_PASSPHRASE_FILE=f"{tmp_path}/gone").stderr


def test_nobody_to_ask_is_said() -> None:
    assert "there is no terminal to ask for its passphrase" in passphrase().stderr

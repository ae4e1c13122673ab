"""What the tests of the exchange share."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.fixtures.history import HandmadeHistory, complete_history
from tests.fixtures.servers import running_azurite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fedcli.exchange.store import StoreOptions


@pytest.fixture(scope="session")
def history() -> HandmadeHistory:
    """A valid history; its records are values, which no test can change for another."""
    return complete_history()


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreOptions]:
    """How Azure's emulator is reached."""
    with running_azurite(tmp_path_factory.mktemp("azurite")) as options:
        yield options


@pytest.fixture(scope="session")
def ssh_keygen() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Return a function that runs ssh-keygen, without a terminal."""
    program = shutil.which("ssh-keygen")
    if program is None:
        pytest.skip("ssh-keygen is not installed (Debian: openssh-client)")

    def run(*arguments: str | Path, data: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        finished = subprocess.run([program, *arguments], input=data, capture_output=True, check=False)
        assert not check or finished.returncode == 0, finished.stderr
        return finished

    return run


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory, ssh_keygen: Callable[..., object]) -> Path:
    """Return a folder of keys that ssh-keygen made, each named by its kind."""
    folder = tmp_path_factory.mktemp("keys")
    kinds = {
        "ed25519": ("-t", "ed25519", "-N", ""),
        "encrypted": ("-t", "ed25519", "-N", "correct hörse", "-a", "1"),
        "rsa": ("-t", "rsa", "-b", "1024", "-N", ""),
        "ecdsa": ("-t", "ecdsa", "-b", "256", "-N", ""),
        "rsa-pem": ("-t", "rsa", "-b", "1024", "-N", "", "-m", "PEM"),
    }
    for name, arguments in kinds.items():
        ssh_keygen("-q", *arguments, "-C", f"a {name} key", "-f", folder / name)
    return folder

"""The Containerfile: built, and run as an ordinary user, where podman is at hand."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMAGE = "localhost/fedcli-test"


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["podman", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_image_is_built_and_runs_as_an_ordinary_user() -> None:
    if shutil.which("podman") is None:
        pytest.skip("there is no podman")
    built = podman("build", "-t", IMAGE, ".")
    if built.returncode and "python:3.12-slim" in built.stderr.splitlines()[-1]:
        pytest.skip("the base image cannot be fetched")
    assert built.returncode == 0, built.stderr
    version = podman("run", "--rm", "--network=none", IMAGE, "--version")
    assert (version.returncode, version.stdout.startswith("fedcli ")) == (0, True), version.stderr
    user = podman("run", "--rm", "--network=none", "--entrypoint", "id", IMAGE, "-u")
    assert user.stdout.strip() == "1000"

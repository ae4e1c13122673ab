"""The tour and the README's short tour, word by word, in a folder that looks like a checkout after `make demo`."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from fedcli.imaging.phantoms import hospitals
from fedcli.progress import Silent
from tests.docs.walkthrough import Step, Walk, shell_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PATIENTS = 40


@pytest.fixture(scope="module")
def demonstrated() -> Iterator[Path]:
    """Return a folder with what the tours use of a checkout: the demonstration's plan, .venv, and smaller archives."""
    with TemporaryDirectory() as name:
        root = Path(name)
        (root / ".venv").symlink_to(sys.prefix)
        (root / "fedcli").mkdir()
        shutil.copy(ROOT / "fedcli" / "demo_plan.toml", root / "fedcli")
        for hospital in hospitals.DEMO_HOSPITALS:
            folder = root / "demo" / "phantoms" / hospital.name
            hospitals.write(folder, replace(hospital, num_patients=PATIENTS), seed=1, progress=Silent())
        yield root


@pytest.mark.parametrize("page", [pytest.param("docs/tour.md", marks=pytest.mark.slow), "README.md"])
def test_every_command_works_and_prints_what_the_page_shows(demonstrated: Path, page: str) -> None:
    walk = Walk(folder=demonstrated)
    blocks = shell_blocks(ROOT / page)
    for block in blocks:
        steps = [walk.run(line) for line in block.lines]
        for step in steps:
            assert step.code == 0, f"{step.line}\n{step.printed}"
        walk.check(block, [without_advice(step) for step in steps])


def without_advice(step: Step) -> Step:
    """Return a step without what only these smaller archives make fedcli say."""
    lines = (
        line for line in step.printed.splitlines(keepends=True) if " validation patients: their kappa is uncertain " not in line
    )
    return replace(step, printed="".join(lines))

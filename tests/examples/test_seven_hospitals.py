"""The first two rounds of examples/seven-hospitals, with 20 patients a hospital; then the same command again, and the report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.command import succeed
from tests.fixtures.files import files_below

EXAMPLE = Path(__file__).parents[2] / "examples" / "seven-hospitals"

pytestmark = pytest.mark.slow


def test_two_rounds_and_the_report(tmp_path: Path) -> None:
    command = [sys.executable, EXAMPLE / "run.py", "work", "--rounds", "2", "--scale", "0.001", "--threads", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "seven-hospitals has run 2 rounds at 7 sites" in first.stdout
    drop = files_below(tmp_path / "work" / "drop")
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert first.stdout.splitlines()[-2:] == again.stdout.splitlines()[-2:]
    assert files_below(tmp_path / "work" / "drop") == drop

    written = succeed("report", "-C", tmp_path / "work/coordinator", "--out", tmp_path / "work/report")
    table = (tmp_path / "work/report/tables/table1-datasets.csv").read_text(encoding="utf-8")
    assert table.count("client") == 7
    assert "tomosynthesis" in table
    assert "<svg" in Path(written["report"] if "report" in written else written["page"]).read_text(encoding="utf-8")

"""What starts without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["", ".evaluation.metrics", ".evaluation.bootstrap", ".samples", ".seeds", ".training.sampling"]
)
def test_no_torch_is_imported(module: str) -> None:
    program = f"import sys, fedcli.learning{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

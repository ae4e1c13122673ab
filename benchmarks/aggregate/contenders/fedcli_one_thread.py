"""As `fedcli_fold`, in one thread."""

import runpy
from pathlib import Path

fold = runpy.run_path(str(Path(__file__).with_name("fedcli_fold.py")))["work"]


def work(base: str, updates: list[tuple[str, int]], target: str) -> None:
    """Compute φ(t) from files."""
    fold(base, updates, target, threads=1)

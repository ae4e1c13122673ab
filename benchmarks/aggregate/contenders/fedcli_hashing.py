"""As `fedcli_fold`, every update hashed in the same pass and held against its digest, and φ(t) hashed while it is written."""

import json
import runpy
from pathlib import Path

fold = runpy.run_path(str(Path(__file__).with_name("fedcli_fold.py")))["work"]


def work(base: str, updates: list[tuple[str, int]], target: str) -> None:
    """Compute φ(t) from files; their digests were written beside the base."""
    digests = json.loads(Path(base).with_name("digests.json").read_text())
    fold(base, updates, target, sha256=digests.__getitem__)

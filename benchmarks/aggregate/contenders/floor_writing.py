"""What writing costs: a model written and flushed to the disk, as fedcli does with φ(t) and no peer does."""

import os
from pathlib import Path


def work(base: str, _updates: list[tuple[str, int]], target: str) -> None:
    """Write one model."""
    with Path(base).open("rb") as file, Path(target).open("xb") as out:
        while chunk := file.read(1 << 20):
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())

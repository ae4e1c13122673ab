"""What writing costs: a model written, hashed and flushed to the disk, as fedcli does with φ(t) and no peer does."""

import hashlib
import os
from pathlib import Path


def work(base: str, _updates: list[tuple[str, int]], target: str) -> None:
    """Write one model."""
    hasher = hashlib.sha256()
    with Path(base).open("rb") as file, Path(target).open("xb") as out:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())

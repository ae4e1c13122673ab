"""A federation's figures as CSV files, in the long form that pandas and R read: one figure per line.

Each file is written whole, and only where its content changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.disk import write_whole
from fedcli.text.csv_text import csv_text
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.reporting.trackers.tracked_history import TrackedFederation


def write(federation: TrackedFederation, folder: Path) -> int:
    """Write the files into a folder named after the federation's digest; return how many figures and digests are new."""
    target = folder / federation.federation[:SHORT_DIGEST]
    added = {name: _update(target / f"{name}.csv", text) for name, text in _texts(federation).items()}
    return added["metrics"] + added["files"]


def _texts(federation: TrackedFederation) -> dict[str, str]:
    figures = ((item.round, item.party, item.metric, item.value, item.moment.isoformat()) for item in federation.values)
    files = ((item.round, item.party, item.key, item.sha256, item.moment.isoformat()) for item in federation.files)
    settings = ((item.name, item.first, item.now) for item in federation.settings)
    stated = (federation.federation, federation.head, federation.statement)
    return {
        "metrics": csv_text((("round", "party", "metric", "value", "time"), *figures)),
        "files": csv_text((("round", "party", "file", "sha256", "time"), *files)),
        "settings": csv_text((("setting", "first", "now"), *settings)),
        "federation": csv_text((("federation", "head", "verification"), stated)),
    }


def _update(path: Path, text: str) -> int:
    """Write a file where its content is another; return how many of its lines are new."""
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if text.splitlines() == before:
        return 0
    write_whole(path, text.encode())
    return len(set(text.splitlines()[1:]) - set(before))

"""Replay: `fedcli verify --replay` of a whole history against hashing its files, which is the least that a verifier can do.

    python benchmarks/aggregate/replay.py [--rounds 300] [--sites 3] [--network squeezenet1_1] [--runs 5]

The history is a real one, but for the training: signed updates of random numbers, aggregated round by round. Then, in turns,
every file of the drop folder hashed by Python's hashlib (OpenSSL) and by `sha256sum`, shared by as many processes as there are
processors; `fedcli verify`, which checks every signature, record and artifact; and `fedcli verify --replay`, which recomputes
every global model too. Each is a process from start to end; medians are compared. The files lie in the system's cache, if it
holds them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from federation import Rehearsal

from fedcli.plan import Network, Plan

_HASHING = 'import hashlib, sys; [hashlib.file_digest(open(name, "rb"), "sha256") for name in sys.argv[1:]]'


def main() -> None:
    """Make a history, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--sites", type=int, default=3)
    parser.add_argument("--network", default="squeezenet1_1")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(name="replay", rounds=options.rounds, network=Network(name=options.network))
        rehearsal = Rehearsal(Path(folder), options.sites, plan)
        rehearsal.go_on(options.rounds)
        measure(Path(folder) / "drop", rehearsal.fingerprint, options.runs)


def measure(drop: Path, coordinator: str, runs: int) -> None:
    """Run the three in turns, and print their medians."""
    files = [path for path in drop.rglob("*") if path.is_file()]
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e9:.2f} GB; median of {runs} alternating runs")
    verify = [sys.executable, "-m", "fedcli", "verify", str(drop), "--coordinator-key", coordinator, "--json"]
    shared = f"find {drop} -type f -print0 | xargs -0 -n 64 -P {os.cpu_count()}"
    commands = {
        "hashlib": ["sh", "-c", f"{shared} {sys.executable} -c '{_HASHING}'"],
        "sha256sum": ["sh", "-c", f"{shared} sha256sum"],
        "verify": verify,
        "verify --replay": [*verify, "--replay"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    least = statistics.median(seconds["hashlib"])
    for name, found in seconds.items():
        print(f"  {name:16} {statistics.median(found):8.2f} s {statistics.median(found) / least:8.2f} × hashlib")


if __name__ == "__main__":
    main()

"""Many sites: what `aggregate`, `status` and `verify` take per site with 10, 100 and 1,000 sites.

    python benchmarks/sites.py [--sites 10,100,1000] [--runs 5]

The sites are keys whose updates of one round, of the small network, are written by hand. Each command is a process of its own
that works on a copy of the folder as it was before; `status` runs from a workspace, the second time with what the first has
remembered. Medians of the processor's seconds, what each further site adds to them, and the largest peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fixtures.federation import Federation, begun_by_hand

REPOSITORY = Path(__file__).parent.parent
_PROGRAM = """
import atexit, json, os, pathlib, resource, sys
def tell():
    used = resource.getrusage(resource.RUSAGE_SELF)
    target.write_text(json.dumps([used.ru_utime + used.ru_stime, pathlib.Path("/proc/self/status").read_text()]))
target = pathlib.Path(sys.argv.pop(1))
atexit.register(tell)
from fedcli.__main__ import main
main()
"""
"""The command, and at its end the processor's seconds and what the system says of its memory."""


def main() -> None:
    """Make the federations, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", default="10,100,1000")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before: dict[str, tuple[int, float]] = {}
        for num_sites in map(int, options.sites.split(",")):
            federation = made(folder / str(num_sites), num_sites)
            for command, figures in measured(folder, federation, options.runs).items():
                seconds, memory = statistics.median(pair[0] for pair in figures), max(pair[1] for pair in figures)
                fewer, less = before.get(command, (0, seconds))
                more = f"{1000 * (seconds - less) / (num_sites - fewer):6.2f} ms a further site" if command in before else ""
                print(f"{num_sites:5} sites  {command:16} {seconds:7.2f} s  {memory / 1e6:5.0f} MB  {more}", flush=True)
                before[command] = (num_sites, seconds)


def made(root: Path, num_sites: int) -> Federation:
    """Begin a federation in which every site has sent its update of round 1."""
    sites = tuple(f"site-{number:04d}" for number in range(num_sites))
    federation = begun_by_hand(root, *sites)
    for site in sites:
        federation.send(site, 1)
    return federation


def measured(folder: Path, federation: Federation, runs: int) -> dict[str, list[tuple[float, int]]]:
    """Run the commands in turns, each round of them on a new copy."""
    figures: dict[str, list[tuple[float, int]]] = {}
    for number in range(runs):
        copy = federation.copy(folder / f"{federation.root.name}-{number}")
        workspace = ["-C", str(copy.coordinator)]
        os.sync()
        for command in ("aggregate", "status", "status again", "verify", "verify --replay"):
            words = command.removesuffix(" again").split()
            figures.setdefault(command, []).append(used(folder, [*words, *workspace, "--json"]))
    return figures


def used(folder: Path, words: list[str]) -> tuple[float, int]:
    """Run a command; return the processor's seconds and its peak memory in bytes."""
    said = folder / "said"
    command = [sys.executable, "-c", _PROGRAM, str(said), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    seconds, status = json.loads(said.read_text())
    return seconds, 1024 * int(status.split("VmHWM:")[1].split()[0])


if __name__ == "__main__":
    main()

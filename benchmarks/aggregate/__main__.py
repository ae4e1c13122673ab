"""Aggregation, file to file: fedcli against Flower and NVFlare, each in its own environment, on the same files.

    python benchmarks/aggregate [--runs 5] [--cases 10x28 20x28 100x28 1000x28 4x1400]

A case is sites × 10^6 bytes; beyond 20 sites the names are hard links to 20 files, so that the disk holds them. Contenders take
turns, now this one first and now that one, each run in a process of its own, after the disk has written what was left to it,
and medians are compared; `contenders/` says what each of them does. A row that needs more memory than the machine has free, or
a peer that is not installed, is named as a gap. `on disk` counts until φ(t) has reached the disk, which fedcli waits for and
the peers do not. `core` is the peer's own call, without reading and writing. The peers are spared integer buffers, which not
all of them can average. Peak memory is VmHWM of the process. What differs from the exact mean, rounded once to float32, is
counted on the first values of the model. Nobody verifies anything in these rows but `fedcli_hashing`. fedcli's times for files
of one size are at last held against the straight line through the fewest and the most of them.

Then the whole command `fedcli aggregate`, with signatures, digests, records and the outbox, on a federation of 20 sites and
DenseNet-121, as a process from start to end, in plain and sealed, against the peers' whole process, which verify nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedcli import tensors
from fedcli.plan import Plan

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

import peers
from federation import Rehearsal

CONTENDERS = {
    "fedcli_fold": None,
    "fedcli_one_thread": None,
    "plain": None,
    "flower_strategy": "flwr",
    "flower_function": "flwr",
    "nvflare_numpy": "nvflare",
    "nvflare_torch": "nvflare-torch",
    "floor_reading": None,
    "floor_writing": None,
    "fedcli_hashing": None,
    "floor_hashing": None,
}
MODELS_IN_MEMORY = {"flower_strategy": (1, 8), "flower_function": (2, 4), "plain": (0, 6)}
"""How many times the model a contender holds: for each site, and besides."""
DISTINCT = 20
CHECKED = 2_000_000
"""Values held against the exact mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: seconds of the work, until φ(t) is on the disk, of the whole process, of the peer's own call; peak bytes."""

    seconds: float
    flushed: float
    whole: float
    core: float | None
    peak: int


def main() -> None:
    """Run all cases, then the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cases", nargs="*", default=["10x28", "20x28", "100x28", "1000x28", "4x1400"])
    parser.add_argument("--no-command", action="store_true")
    options = parser.parse_args()
    for peer in peers.PEERS:
        if peers.python_of(peer) is None:
            print(f"gap: {peers.gap(peer)}")
    growth: dict[int, dict[int, float]] = {}
    for case in options.cases:
        sites, megabytes = map(int, case.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            growth.setdefault(megabytes, {})[sites] = run_case(Path(folder), sites, megabytes * 10**6, options.runs)
    for megabytes, seconds in growth.items():
        report_growth(megabytes, seconds)
    if not options.no_command:
        with tempfile.TemporaryDirectory() as folder:
            run_command(Path(folder), options.runs)


def run_case(folder: Path, sites: int, size: int, runs: int) -> float:
    """Let all contenders do one case in turn, and print their medians; return fedcli's seconds."""
    write_files(folder, sites, size)
    runs = min(runs, max(3, int(2e10 / (sites * size))))
    print(f"\n{sites} updates of {size / 1e6:.0f} MB; median of {runs} alternating runs", flush=True)
    able = {name: reason for name in CONTENDERS if (reason := obstacle(name, sites, size))}
    for name, reason in able.items():
        print(f"  gap: {name}: {reason}")
    names = [name for name in CONTENDERS if name not in able]
    found: dict[str, list[Run]] = {name: [] for name in names}
    exact = exact_values(folder)
    wrong = {}
    for number in range(runs):
        for name in names[:: (-1) ** number]:
            found[name].append(run(folder, name))
            if not name.startswith("floor"):
                wrong[name] = int((first_values(folder / "out", exact.size) != exact).sum())
    report(found, wrong, exact.size)
    return median(found["fedcli_fold"], "seconds")


def report_growth(megabytes: int, seconds: dict[int, float]) -> None:
    """Print how far fedcli's times lie from a straight line in the number of files."""
    fewest, most = min(seconds), max(seconds)
    if len(seconds) == 1:
        return
    slope = (seconds[most] - seconds[fewest]) / (most - fewest)
    print(f"\nfedcli's time, files of {megabytes} MB, against the line through {fewest} and {most} of them")
    for sites, found in sorted(seconds.items()):
        departure = found / (seconds[fewest] + slope * (sites - fewest)) - 1
        print(f"  {sites:5} files {found:8.3f} s, {1000 * found / sites:5.1f} ms each {departure:+7.1%}")


def report(found: dict[str, list[Run]], wrong: dict[str, int], checked: int) -> None:
    """Print a table of medians, ratios to fedcli's, and the distance to the floors."""
    own = median(found["fedcli_fold"], "seconds")
    heads = ("seconds", "/ fedcli", "on disk", "/ fedcli", "process", "core", "peak MB")
    print(f"  {'':18}{''.join(f'{head:>9}' for head in heads)}  differ of {checked:,}")
    flushed = median(found["fedcli_fold"], "flushed")
    for name, results in found.items():
        core = f"{median(results, 'core'):8.3f}" if results[0].core is not None else " " * 8
        seconds, until, whole = (median(results, field) for field in ("seconds", "flushed", "whole"))
        print(
            f"  {name:18} {seconds:8.3f} {seconds / own:8.2f} {until:8.3f} {until / flushed:8.2f} {whole:8.3f} {core}"
            f" {median(results, 'peak') / 1e6:8.0f}  {wrong.get(name, '')}"
        )
    writing = median(found["floor_writing"], "seconds")
    for name, floor in (("fedcli_fold", "floor_reading"), ("fedcli_hashing", "floor_hashing")):
        mine, least = median(found[name], "seconds"), median(found[floor], "seconds")
        rest = f"of the other {mine - least:.3f} s, writing and flushing φ(t) alone takes {writing:.3f} s"
        print(f"  {name} is {mine / least:.2f} × {floor}; {rest}", flush=True)


def median(results: list[Run], field: str) -> float:
    """Return the median of one figure."""
    return statistics.median(getattr(item, field) for item in results)


def run(folder: Path, name: str) -> Run:
    """Run one contender in its own process."""
    (folder / "out").unlink(missing_ok=True)
    os.sync()
    peer = CONTENDERS[name]
    python = sys.executable if peer is None else str(peers.python_of(peer))
    script = Path(__file__).parent / "contenders" / "_measure.py"
    started = time.perf_counter()
    done = subprocess.run([python, str(script), name, str(folder / "job.json")], check=False, capture_output=True, text=True)
    whole = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{name} failed: {done.stderr[-2000:]}")
    return Run(whole=whole, **json.loads(done.stdout.splitlines()[-1]))


def obstacle(name: str, sites: int, size: int) -> str:
    """Return why a contender cannot run, or nothing."""
    peer = CONTENDERS[name]
    if peer is not None and peers.python_of(peer) is None:
        return f"{peer} is not installed"
    each, besides = MODELS_IN_MEMORY.get(name, (0, 4))
    need = (each * sites + besides) * size
    available = 1024 * int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0])
    if need > 0.8 * available:
        return f"holds about {need / 1e9:.0f} GB in memory, more than four fifths of the {available / 1e9:.0f} GB that are free"
    return ""


def write_files(folder: Path, sites: int, size: int) -> None:
    """Write φ(t-1), the updates with their weights, and their digests."""
    generator = np.random.default_rng(0)
    names = [f"layer{number:03d}.weight" for number in range(100)]

    def model(name: str, scale: float) -> tuple[Path, str]:
        arrays = {item: generator.standard_normal(size // 4 // len(names), np.float32) * np.float32(scale) for item in names}
        return folder / name, tensors.write(folder / name, arrays).sha256

    base, digest = model("base", 0.05)
    digests = {str(base): digest}
    updates = []
    for number in range(sites):
        path = folder / f"update{number:04d}"
        if number < DISTINCT:
            _, digests[str(path)] = model(path.name, 0.001)
        else:
            source = folder / f"update{number % DISTINCT:04d}"
            path.hardlink_to(source)
            digests[str(path)] = digests[str(source)]
        updates.append((str(path), 100 + number))
    (folder / "digests.json").write_text(json.dumps(digests))
    (folder / "job.json").write_text(json.dumps([str(base), updates, str(folder / "out")]))


def exact_values(folder: Path) -> np.ndarray:
    """Return the first values of φ(t), summed with 64 bits of mantissa and rounded once."""
    base, updates, _ = json.loads((folder / "job.json").read_text())
    first = first_values(Path(base), CHECKED)
    total = np.zeros(first.size, np.longdouble)
    for path, weight in updates:
        total += first_values(Path(path), CHECKED).astype(np.longdouble) * weight
    return (first + total / sum(weight for _, weight in updates)).astype(np.float32)


def first_values(path: Path, count: int) -> np.ndarray:
    """Return the first values of a model's file by name, whoever wrote it."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
        parts: list[np.ndarray] = []
        for name in sorted(header.keys() - {"__metadata__"}):
            begin, end = header[name]["data_offsets"]
            file.seek(start + begin)
            parts.append(np.frombuffer(file.read(min(end - begin, 4 * count)), np.float32))
            if sum(part.size for part in parts) >= count:
                break
    return np.concatenate(parts)[:count]


def run_command(folder: Path, runs: int) -> None:
    """Measure `fedcli aggregate` as a process, against the peers' processes on the very same deltas."""
    rehearsal = Rehearsal(folder, num_sites=20)
    secret = Rehearsal(folder / "sealed", num_sites=20, plan=Plan(name="bench"))
    (folder / "job.json").write_text(json.dumps(rehearsal.job(folder / "out")))
    (folder / "digests.json").write_text("{}")
    names = [
        name
        for name in ("flower_strategy", "flower_function", "nvflare_numpy", "nvflare_torch")
        if not obstacle(name, 20, 28 * 10**6)
    ]
    own: list[tuple[float, int, float]] = []
    sealed: list[tuple[float, int, float]] = []
    found: dict[str, list[Run]] = {name: [] for name in names}
    for _ in range(runs):
        own.append(rehearsal.aggregate())
        sealed.append(secret.aggregate())
        for name in names:
            found[name].append(run(folder, name))
    print(f"\nthe whole command on 20 sites of DenseNet-121, everything verified; median of {runs} alternating runs")
    seconds, _, plain_busy = (statistics.median(column) for column in zip(*own, strict=True))
    for name, runs_of_it in (("fedcli aggregate", own), ("the same, sealed", sealed)):
        slower, peak, busy = (statistics.median(column) for column in zip(*runs_of_it, strict=True))
        print(f"  {name:18} {slower:8.3f} s {slower / seconds:8.2f} {peak / 1e6:8.0f} MB peak;", end=" ")
        print(f"processor {busy:.3f} s {busy / plain_busy:.2f}")
    for name, results in found.items():
        whole = median(results, "whole")
        print(f"  {name:18} {whole:8.3f} s {whole / seconds:8.2f} {median(results, 'peak') / 1e6:8.0f} MB peak, nothing verified")


if __name__ == "__main__":
    main()

"""Aggregation over files: fedcli's weighted mean against the loop that one would write with safetensors and numpy.

    python benchmarks/aggregate.py [--sites 20] [--megabytes 28] [--runs 7]

Both read the same files and write φ(t); neither hashes its inputs. Runs alternate, each in a process of its own, and medians are
compared; peak memory is that of the process. The floor is reading all the bytes once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from fedcli import tensors

FEDCLI = """
from pathlib import Path
from fedcli.aggregation.mean import Update, weighted_mean
def work(base, updates, target):
    named = [Update(site=f"s{n:03d}", path=Path(path), weight=weight) for n, (path, weight) in enumerate(updates)]
    weighted_mean(Path(base), named, Path(target))
"""
PLAIN = """
import numpy as np
from safetensors.numpy import load_file, save_file
def work(base, updates, target):
    model = load_file(base)
    deltas = [(load_file(path), weight) for path, weight in updates]
    total = sum(weight for _, weight in deltas)
    save_file({
        name: (value + sum(weight * delta[name].astype(np.float64) for delta, weight in deltas) / total).astype(value.dtype)
        for name, value in model.items()
    }, target)
"""
READ = """
def work(base, updates, target):
    for path in [base, *(path for path, _ in updates)]:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
"""
MEASURE = """
import json, re, sys, time
base, updates, target = json.loads(sys.argv[1])
started = time.perf_counter()
work(base, updates, target)
seconds = time.perf_counter() - started
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(json.dumps([seconds, peak]))
"""


def main() -> None:
    """Write the files, run the rivals in turn, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=28)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    rivals = {"fedcli": FEDCLI, "safetensors + numpy": PLAIN, "reading once": READ}
    with tempfile.TemporaryDirectory() as folder:
        job = _write(Path(folder), options.sites, options.megabytes * 10**6)
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in rivals}
        for _ in range(options.runs):
            for name, program in rivals.items():
                figures[name].append(_run(program, job, Path(folder) / "out"))
    print(f"{options.sites} updates of {options.megabytes} MB, median of {options.runs} alternating runs")
    reference = statistics.median(seconds for seconds, _ in figures["fedcli"])
    for name, found in figures.items():
        seconds = statistics.median(item[0] for item in found)
        memory = statistics.median(item[1] for item in found)
        print(f"{name:22} {seconds:7.3f} s  {seconds / reference:6.2f} × fedcli's time  {memory:7.0f} MB peak")


def _write(folder: Path, sites: int, size: int) -> tuple[str, list[tuple[str, int]]]:
    generator = np.random.default_rng(0)
    names = [f"layer{number:03d}.weight" for number in range(100)]

    def model(name: str) -> str:
        arrays = {item: generator.standard_normal(size // 4 // len(names), np.float32) for item in names}
        tensors.write(folder / name, arrays)
        return str(folder / name)

    return model("base"), [(model(f"update{number}"), 100 + number) for number in range(sites)]


def _run(program: str, job: tuple[str, list[tuple[str, int]]], target: Path) -> tuple[float, float]:
    target.unlink(missing_ok=True)
    arguments = [sys.executable, "-c", program + MEASURE, json.dumps([*job, str(target)])]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    seconds, memory = json.loads(done.stdout)
    return seconds, memory


if __name__ == "__main__":
    main()

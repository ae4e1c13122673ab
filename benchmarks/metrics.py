"""The metrics with their bootstrap intervals: fedcli's vectorised resampling against the plain loop over scikit-learn.

    python benchmarks/metrics.py [--patients 10000] [--resamples 1000] [--runs 5] [--all]

Both draw patients with replacement and take the 2.5th and 97.5th percentile, in one thread: by default only of the linear
weighted kappa, for which the loop calls scikit-learn's `cohen_kappa_score`; with --all of the seven metrics that an evaluation
publishes, each by scikit-learn's function. Runs alternate, each in its own process. The loop does a share of the resamples
(--share), and its time is scaled, because its cost per resample is constant.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

COMMON = """
import json, sys, time
import numpy as np
patients, resamples, share = json.loads(sys.argv[1])
generator = np.random.default_rng(0)
truth = generator.choice(4, patients, p=(0.1, 0.4, 0.4, 0.1))
probabilities = generator.dirichlet(np.ones(4), patients)
probabilities[np.arange(patients), np.clip(truth + generator.integers(-1, 2, patients), 0, 3)] += 0.5
probabilities /= probabilities.sum(axis=1, keepdims=True)
"""
FEDCLI_KAPPA = """
from fedcli.learning.evaluation.bootstrap import draws
from fedcli.learning.evaluation.metrics import Predictions, cells, kappas
predictions = Predictions(truth=truth, probabilities=probabilities, dense=(2, 3))
started = time.perf_counter()
own = cells(predictions)
values = np.concatenate([kappas(weights @ own) for weights in draws(patients, resamples, 1)])
interval = np.percentile(values, [2.5, 97.5])
seconds = time.perf_counter() - started
"""
FEDCLI_ALL = """
from fedcli.learning.evaluation.bootstrap import measure
from fedcli.learning.evaluation.metrics import Predictions
predictions = Predictions(truth=truth, probabilities=probabilities, dense=(2, 3))
started = time.perf_counter()
interval = measure(predictions, np.arange(patients), resamples=resamples, seed=1).kappa.interval
seconds = time.perf_counter() - started
"""
LOOP = """
import sklearn.metrics as m
predicted, repeats = probabilities.argmax(axis=1), resamples // share
def metrics(drawn):
    right, named, given = truth[drawn], predicted[drawn], probabilities[drawn]
    values = [m.cohen_kappa_score(right, named, labels=range(4), weights="linear")]
    if EVERYTHING:
        dense, confidence = np.isin(right, (2, 3)), given.max(axis=1)
        bins, hits = np.ceil(confidence * 15).astype(int) - 1, right == named
        values += [
            m.cohen_kappa_score(right, named, labels=range(4), weights="quadratic"),
            m.accuracy_score(right, named),
            m.balanced_accuracy_score(right, named),
            m.roc_auc_score(right, given, multi_class="ovr", labels=range(4)),
            m.roc_auc_score(dense, given[:, 2:].sum(axis=1)),
            sum(abs((hits[bins == b] - confidence[bins == b]).sum()) for b in range(15)) / len(right),
        ]
    return values
started = time.perf_counter()
values = np.array([metrics(generator.integers(0, patients, patients)) for _ in range(repeats)])
interval = np.percentile(values[:, 0], [2.5, 97.5])
seconds = (time.perf_counter() - started) * resamples / repeats
"""
PRINT = "\nprint(json.dumps([seconds, *map(float, interval)]))\n"


def main() -> None:
    """Run both alternately; print medians, the ratio, and the kappa's interval of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--share", type=int, default=5, help="the loop does one of so many resamples")
    parser.add_argument("--all", action="store_true", help="all seven metrics, not only the kappa")
    options = parser.parse_args()
    programs = {
        "fedcli": COMMON + (FEDCLI_ALL if options.all else FEDCLI_KAPPA),
        "loop over scikit-learn": COMMON + LOOP.replace("EVERYTHING", str(options.all)),
    }
    argument = f"[{options.patients}, {options.resamples}, {options.share}]"
    runs_of: dict[str, list[list[float]]] = {name: [] for name in programs}
    for _ in range(options.runs):
        for name, program in programs.items():
            runs_of[name].append(_run(program, argument))
    what = "seven metrics" if options.all else "linear weighted kappa"
    print(f"{what}, {options.patients} patients × {options.resamples} resamples, median of {options.runs} alternating runs")
    for name, runs in runs_of.items():
        _, low, high = runs[-1]
        print(f"{name:24} {statistics.median(run[0] for run in runs):8.3f} s   kappa's interval {low:.4f} to {high:.4f}")
    ours, loop = runs_of.values()
    ratios = [theirs[0] / mine[0] for mine, theirs in zip(ours, loop, strict=True)]
    print(f"fedcli is {statistics.median(ratios):.1f} × faster (runs: {', '.join(f'{ratio:.1f}' for ratio in sorted(ratios))})")


def _run(program: str, argument: str) -> list[float]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program + PRINT, argument]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return [float(value) for value in done.stdout.strip("[]\n").split(",")]


if __name__ == "__main__":
    main()

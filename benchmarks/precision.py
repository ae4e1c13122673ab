"""bfloat16 against float32: the effect of the precision of training on the kappa.

    python benchmarks/precision.py [--network small | densenet121] [--work .bench/precision] [--jobs 2]

A network is trained twice, from the same start, on the same batches and with the same augmentation, once in each precision: by
`simulate`, in a federation of the three plain phantom hospitals with more than 400 test patients in total. The outcome
is the mean over hospitals of the final global model's kappa on their test patients, for five seeds that were fixed beforehand.
The differences are paired by patient and by seed. The plan's default may be bfloat16 if the interval over seeds is within ± 0.02;
it was not (docs/studies.md), and the default is float32.

The small network trains for 20 rounds, until its kappa is steady: minutes. DenseNet-121 has 8 rounds of
two epochs, half an hour, and its kappa still varies from round to round.

After an interruption it resumes: a finished seed is a JSON file, an unfinished one two federations.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from phantom_federation import ENVIRONMENT, half_interval, interval, mean_difference, plain_plan, predictions, prepared, run_seeds

from fedcli import tensors
from fedcli.learning.evaluation import metrics
from fedcli.learning.networks import registry, weights
from fedcli.learning.networks.registry import SMALL
from fedcli.operations.simulate import SimulateRequest, simulate
from fedcli.plan import Network, OptimizerState, Plan, Precision, Split, Training

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.learning.evaluation.metrics import Predictions

SEEDS = (1, 2, 3, 4, 5)
NUM_PATIENTS = 280


def study_plan(network: str, seed: int, precision: Precision) -> Plan:
    """Return the demonstration's plan with more test patients; for DenseNet-121 with fewer rounds and other rates."""
    plan = replace(plain_plan(), seed=seed, split=Split(train=0.4, validation=0.05, test=0.55))
    if network == SMALL:
        return replace(plan, training=replace(plan.training, precision=precision))
    training = Training(epochs=2, rate=1e-3, rate_step=3, optimizer_state=OptimizerState.KEEP, precision=precision)
    return replace(plan, rounds=8, network=Network(name=network), training=training)


def study(network: str, seed: int, folder: Path) -> dict[str, object]:
    """Train in both precisions, and return the kappas and their paired difference."""
    plans = {kind: study_plan(network, seed, kind) for kind in (Precision.BFLOAT16, Precision.FLOAT32)}
    return compare(plans, folder, NUM_PATIENTS)


def compare(plans: dict[Precision, Plan], folder: Path, num_patients: int) -> dict[str, object]:
    """Run a federation for each plan, and compare their final global models on all sites' test patients."""
    predicted: dict[Precision, list[Predictions]] = {}
    for precision, plan in plans.items():
        sites = prepared(folder, plan, num_patients)
        drop = folder / precision / "drop"
        simulate(SimulateRequest(plan=plan, sites=sites, drop=drop, threads=1), ENVIRONMENT)
        module = registry.build(plan.network, len(plan.classes))
        newest = next((drop / f"coordinator/round-{plan.rounds:04d}").glob("global-*.safetensors"))
        weights.load_arrays(module, tensors.read(newest))
        predicted[precision] = [predictions(module, path, plan) for path in sites.values()]
    pairs = list(zip(sites, predicted[Precision.BFLOAT16], predicted[Precision.FLOAT32], strict=True))
    return {
        "patients": [len(site.truth) for site in predicted[Precision.FLOAT32]],
        "kappas": {
            precision.value: [metrics.kappa(item.truth, item.predicted, item.num_classes) for item in items]
            for precision, items in predicted.items()
        },
        "difference": mean_difference(pairs, 0),
    }


def print_differences(title: str, observed: Sequence[float], drawn: Sequence[Sequence[float]]) -> None:
    """Print the differences of all seeds, each with its bootstrap interval, then their mean with both kinds of interval."""
    print(f"\n{title}\n\n| seed | difference | 95 % interval over patients |\n|---|---|---|")
    for number, (difference, resamples) in enumerate(zip(observed, drawn, strict=True), 1):
        low, high = interval(resamples)
        print(f"| {number} | {difference:+.3f} | {low:+.3f} to {high:+.3f} |")
    mean = statistics.fmean(observed)
    half = half_interval(observed)
    low, high = interval(np.mean(np.array(drawn), axis=0).tolist())
    print(f"| mean | {mean:+.3f} | {low:+.3f} to {high:+.3f} |")
    print(
        f"\nOver seeds, Student's t with {len(observed) - 1} degrees: {mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}].",
        flush=True,
    )


def main() -> None:
    """Run all seeds, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=(SMALL, "densenet121"), default=SMALL)
    parser.add_argument("--work", type=Path, default=Path(".bench/precision"))
    parser.add_argument("--jobs", type=int, default=2, help="number of seeds to run at once, each with one thread")
    options = parser.parse_args()
    report(run_seeds(partial(study, options.network), SEEDS, options.work / options.network, options.jobs))


def report(results: list[dict]) -> None:
    """Print every seed's kappas, then the differences."""
    print("\n| seed | bfloat16 | float32 | test patients |\n|---|---|---|---|")
    for result in results:
        half, single = (statistics.fmean(result["kappas"][kind.value]) for kind in (Precision.BFLOAT16, Precision.FLOAT32))
        print(f"| {result['seed']} | {half:.3f} | {single:.3f} | {sum(result['patients'])} |")
    observed, drawn = zip(*(result["difference"] for result in results), strict=True)
    print_differences("Kappa: bfloat16 minus float32", observed, drawn)


if __name__ == "__main__":
    main()

"""DenseNet-121 in federation: what it gains on the other sites' patients, and what fine-tuning gains on a site's own.

    python benchmarks/densenet.py [--work .bench/densenet] [--jobs 2]

The demonstration's three phantom hospitals, each with at least 100 test patients, for three seeds fixed beforehand: a whole
federation through `simulate`, with the local-only baseline, fine-tuning, and every model scored at every site. Images are 48
pixels wide, and rounds are few, so that all of it takes about half an hour on two cores; what else differs from the paper's plan
stands in `study_plan`. Cut off, it goes on where it was: a finished seed is a JSON file, an unfinished one a federation.

Printed, as tables for docs/: every seed's Table 2; then, paired by patient, the off-diagonal kappa after federation less local
training's, and the diagonal after fine-tuning less before it and less local training's, with bootstrap intervals over patients
for each seed, and an interval over seeds.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from phantom_federation import (
    ENVIRONMENT,
    Pair,
    demo_plan,
    mean_difference,
    prepared,
    print_differences,
    run_seeds,
    samples,
)

from fedcli import wire
from fedcli.exchange.records import ModelKind, ModelRecord
from fedcli.learning.evaluation import metrics
from fedcli.learning.evaluation.metrics import Predictions
from fedcli.operations.simulate import simulate
from fedcli.plan import Finetuning, Network, OptimizerState, Part, Plan, Training

SEEDS = (1, 2, 3)
NUM_PATIENTS = 280
KINDS = (ModelKind.LOCAL, ModelKind.FEDERATED, ModelKind.FINETUNED)


def study_plan(seed: int) -> Plan:
    """Return the demonstration's plan with the paper's network, and rates for some hundred steps instead of its 10⁵."""
    return replace(
        demo_plan(),
        seed=seed,
        rounds=12,
        network=Network(name="densenet121"),
        training=Training(epochs=2, rate=1e-3, rate_decay=0.3, rate_step=4, optimizer_state=OptimizerState.KEEP),
        finetuning=Finetuning(epochs=5, rate=1e-4),
    )


def study(seed: int, folder: Path) -> dict[str, object]:
    """Run one seed's federation, and return its kappas and paired differences."""
    return federation(study_plan(seed), folder, NUM_PATIENTS)


def federation(plan: Plan, folder: Path, num_patients: int) -> dict[str, object]:
    """Run a federation, and return each kind's kappas, source by target, and the paired differences with their resamples."""
    sites = prepared(folder, plan, num_patients)
    simulate(plan, sites, folder / "drop", ENVIRONMENT, threads=1, full=True)
    names = tuple(sorted(sites))
    said = {key: predictions(folder, plan, sites[key[2]], *key) for key in product(KINDS, names, names)}
    kappas = {
        kind.value: [[metrics.kappa(*outcome(said[kind, source, target])) for target in names] for source in names]
        for kind in KINDS
    }

    def pairs(first: ModelKind, second: ModelKind, *, own: bool) -> list[Pair]:
        return [
            (target, said[first, source, target], said[second, source, target])
            for source, target in product(names, names)
            if (source == target) is own
        ]

    return {
        "sites": names,
        "patients": [len(said[ModelKind.LOCAL, site, site].truth) for site in names],
        "kappas": kappas,
        "generalisation": mean_difference(pairs(ModelKind.FEDERATED, ModelKind.LOCAL, own=False), plan.seed),
        "federated own": mean_difference(pairs(ModelKind.FEDERATED, ModelKind.LOCAL, own=True), plan.seed),
        "finetuned own": mean_difference(pairs(ModelKind.FINETUNED, ModelKind.FEDERATED, own=True), plan.seed),
        "finetuned own, less local": mean_difference(pairs(ModelKind.FINETUNED, ModelKind.LOCAL, own=True), plan.seed),
    }


def outcome(found: Predictions) -> tuple[np.ndarray, np.ndarray, int]:
    """Return what a kappa is made of."""
    return found.truth, found.predicted, found.num_classes


def predictions(folder: Path, plan: Plan, data: Path, kind: ModelKind, source: str, target: str) -> Predictions:
    """Return what a site's shared model said about another's test patients, as `evaluate` has kept it there."""
    record = max((folder / "drop" / "sites" / source / "models").glob(f"*-{kind}.json"))
    digest = wire.decode(ModelRecord, record.read_bytes()).artifacts[0].content_sha256
    (kept,) = (folder / "sites" / target / "scores").glob(f"{digest[:16]}-*-test.npy")
    test = samples(data, plan, Part.TEST)
    return Predictions(truth=test.labels, probabilities=np.load(kept, allow_pickle=False), dense=()).by_unit(test.units)


def main() -> None:
    """Run all seeds, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".bench/densenet"))
    parser.add_argument("--jobs", type=int, default=2, help="seeds at a time, each with one thread")
    options = parser.parse_args()
    report(run_seeds(study, SEEDS, options.work, options.jobs))


def report(found: list[dict]) -> None:
    """Print every seed's kappas, then the differences."""
    print("\n| seed | models | own patients | others' patients | test patients |\n|---|---|---|---|---|")
    for result in found:
        for kind, rows in result["kappas"].items():
            own = statistics.fmean(rows[site][site] for site in range(len(rows)))
            others = [rows[source][target] for source in range(len(rows)) for target in range(len(rows)) if source != target]
            patients = " + ".join(map(str, result["patients"]))
            print(f"| {result['seed']} | {kind} | {own:.3f} | {statistics.fmean(others):.3f} | {patients} |")
    titles = {
        "generalisation": "Kappa on the other sites' patients: federated less local",
        "federated own": "Kappa on own patients: federated less local",
        "finetuned own": "Kappa on own patients: fine-tuned less federated",
        "finetuned own, less local": "Kappa on own patients: fine-tuned less local",
    }
    for key, title in titles.items():
        print_differences(title, [result[key][0] for result in found], [result[key][1] for result in found])


if __name__ == "__main__":
    main()

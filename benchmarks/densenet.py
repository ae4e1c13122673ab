"""DenseNet-121 in federation: its gain on the other sites' patients, and the gain of fine-tuning on a site's own.

    python benchmarks/densenet.py [--work .bench/densenet] [--jobs 2]

The three plain phantom hospitals, each with at least 100 test patients, for three seeds fixed beforehand: a whole
federation by `simulate`, with a local baseline, fine-tuning, and every model scored at every site. Images are 48 pixels wide and
rounds are few, so that all of it takes about half an hour on two cores; the other differences from the paper's plan are in
`study_plan`. After an interruption it resumes: a finished seed is a JSON file, an unfinished one a federation.

It prints tables for docs/studies.md: every seed's Table 2; then, paired by patient, the off-diagonal kappa after federation minus
that of local training, and the diagonal after fine-tuning minus that before it and minus that of local training, with bootstrap
intervals over patients for each seed, and an interval over seeds.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from phantom_federation import (
    ENVIRONMENT,
    Pair,
    mean_difference,
    plain_plan,
    prepared,
    print_differences,
    run_study,
    samples,
)

from fedcli import wire
from fedcli.exchange.records import ModelKind, ModelRecord
from fedcli.learning.evaluation import metrics
from fedcli.learning.evaluation.metrics import Predictions
from fedcli.operations.simulate import SimulateRequest, simulate
from fedcli.plan import Finetuning, Network, OptimizerState, Part, Plan, Training

SEEDS = (1, 2, 3)
NUM_PATIENTS = 280
KINDS = (ModelKind.LOCAL, ModelKind.FEDERATED, ModelKind.FINETUNED)


def study_plan(seed: int) -> Plan:
    """Return the demonstration's plan with the paper's network, and rates for a few hundred steps instead of 10⁵."""
    return replace(
        plain_plan(),
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
    """Run a federation; return each kind's kappas, source by target, and the paired differences with their resamples."""
    sites = prepared(folder, plan, num_patients)
    simulate(SimulateRequest(plan=plan, sites=sites, drop=folder / "drop", threads=1, full=True), ENVIRONMENT)
    names = tuple(sorted(sites))
    predicted = {key: predictions(folder, plan, sites[key[2]], *key) for key in product(KINDS, names, names)}
    kappas = {kind.value: [[kappa_of(predicted[kind, source, target]) for target in names] for source in names] for kind in KINDS}

    def pairs(first: ModelKind, second: ModelKind, *, own: bool) -> list[Pair]:
        return [
            (target, predicted[first, source, target], predicted[second, source, target])
            for source, target in product(names, names)
            if (source == target) is own
        ]

    return {
        "sites": names,
        "patients": [len(predicted[ModelKind.LOCAL, site, site].truth) for site in names],
        "kappas": kappas,
        "generalisation": mean_difference(pairs(ModelKind.FEDERATED, ModelKind.LOCAL, own=False), plan.seed),
        "federated own": mean_difference(pairs(ModelKind.FEDERATED, ModelKind.LOCAL, own=True), plan.seed),
        "finetuned own": mean_difference(pairs(ModelKind.FINETUNED, ModelKind.FEDERATED, own=True), plan.seed),
        "finetuned own, minus local": mean_difference(pairs(ModelKind.FINETUNED, ModelKind.LOCAL, own=True), plan.seed),
    }


def kappa_of(predictions: Predictions) -> float | None:
    """Return the linear weighted kappa."""
    return metrics.kappa(predictions.truth, predictions.predicted, predictions.num_classes)


def predictions(folder: Path, plan: Plan, data: Path, kind: ModelKind, source: str, target: str) -> Predictions:
    """Return the predictions of a site's model for another's test patients, which `evaluate` has saved there."""
    record = max((folder / "drop" / "sites" / source / "models").glob(f"*-{kind}.json"))
    digest = wire.decode(ModelRecord, record.read_bytes()).artifacts[0].content_sha256
    (saved,) = (folder / "sites" / target / "scores").glob(f"{digest[:16]}-*-test.npy")
    test = samples(data, plan, Part.TEST)
    return Predictions(truth=test.labels, probabilities=np.load(saved, allow_pickle=False), dense=()).by_unit(test.units)


def main() -> None:
    """Run all seeds, and print the tables."""
    report(run_study(__doc__, study, SEEDS, Path(".bench/densenet")))


def report(results: list[dict]) -> None:
    """Print every seed's kappas, then the differences."""
    print("\n| seed | models | own patients | others' patients | test patients |\n|---|---|---|---|---|")
    for result in results:
        for kind, rows in result["kappas"].items():
            own = statistics.fmean(rows[site][site] for site in range(len(rows)))
            others = [rows[source][target] for source in range(len(rows)) for target in range(len(rows)) if source != target]
            patients = " + ".join(map(str, result["patients"]))
            name = kind.replace("finetuned", "fine-tuned")
            print(f"| {result['seed']} | {name} | {own:.3f} | {statistics.fmean(others):.3f} | {patients} |")
    titles = {
        "generalisation": "Kappa on the other sites' patients: federated minus local",
        "federated own": "Kappa on own patients: federated minus local",
        "finetuned own": "Kappa on own patients: fine-tuned minus federated",
        "finetuned own, minus local": "Kappa on own patients: fine-tuned minus local",
    }
    for key, title in titles.items():
        print_differences(title, [result[key][0] for result in results], [result[key][1] for result in results])


if __name__ == "__main__":
    main()

"""How hard the phantoms are: kappa of locally trained models at home and elsewhere, on seeds that no result uses.

    python benchmarks/calibrate.py [--seeds 101 102] [--patients 200] [--train 0.3] [--variation 0.25]

Only local models are trained, so that nobody sees a federated result before the difficulty is set. Each of the demonstration's
hospitals trains for 40 epochs, and keeps the model with the highest validation kappa.
docs/studies.md says which settings were tried, and what came out.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from phantom_federation import kappa_and_loss, local_model, plain_plan, prepared, samples

from fedcli.imaging.phantoms.hospitals import DEMO_HOSPITALS, VARIATION
from fedcli.learning.networks import registry, weights
from fedcli.plan import Part, Plan, Precision, Split


def local_kappas(plan: Plan, folders: dict[str, Path]) -> tuple[float, float]:
    """Return the mean kappa of all sites' local models on their own test patients, and on the others'."""
    data = {site: {part: samples(path, plan, part) for part in Part} for site, path in folders.items()}
    module, own, others = registry.build(plan.network, len(plan.classes)), [], []
    for site, parts in data.items():
        weights.load_arrays(module, local_model(plan, site, parts))
        for other, theirs in data.items():
            (own if other == site else others).append(kappa_and_loss(module, theirs[Part.TEST])[0])
    return statistics.fmean(own), statistics.fmean(others)


def main() -> None:
    """Print the figures of each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=(101, 102))
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--train", type=float, default=0.3)
    parser.add_argument("--variation", type=float, default=VARIATION)
    parser.add_argument("--work", type=Path, default=Path(".bench/calibrate"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    plan, validation = plain_plan(), round((1 - arguments.train) * 2 / 7, 3)
    split = Split(train=arguments.train, validation=validation, test=round(1 - arguments.train - validation, 3))
    plan = replace(plan, split=split, training=replace(plan.training, precision=Precision.FLOAT32))
    hospitals = [replace(hospital, num_patients=arguments.patients, variation=arguments.variation) for hospital in DEMO_HOSPITALS]
    for seed in arguments.seeds:
        started = time.perf_counter()
        folder = arguments.work / f"{arguments.patients}-{arguments.train}-{arguments.variation}" / f"seed-{seed}"
        seeded = replace(plan, seed=seed)
        own, others = local_kappas(seeded, prepared(folder, seeded, of=hospitals))
        print(f"seed {seed}: own {own:.3f}, others {others:.3f}; {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()

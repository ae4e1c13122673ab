"""The demonstration on several seeds, and what decides whether its federated models are better at home: one change at a time.

    python benchmarks/demonstration.py                          # the demonstration itself, seeds 1 to 5
    python benchmarks/demonstration.py --seeds 101 102 103 --changes   # and with every change

Each seed is what `fedcli demo --seed N` runs: local-only baselines, the federation, fine-tuning. Kappas are of test patients.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from phantom_federation import ENVIRONMENT, demo_plan, prepared, run_seeds, with_interval

from fedcli.imaging.phantoms.hospitals import DEMO_HOSPITALS, Hospital
from fedcli.operations.simulate import SimulateRequest, simulate
from fedcli.plan import Crop, Orientation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fedcli.plan import Plan

SEEDS = (1, 2, 3, 4, 5)
"""Fixed before these phantoms existed."""


def one_exposure(hospital: Hospital) -> Hospital:
    """Let dense breasts come out as bright at every hospital as they do at 'north'."""
    return replace(hospital, scanner=replace(hospital.scanner, compensation=DEMO_HOSPITALS[0].scanner.compensation))


def cropped(plan: Plan) -> Plan:
    """Take the bounding box of the breast, the chest wall always on the left."""
    images = replace(plan.images, crop=Crop.BREAST, orientation=Orientation.CHEST_WALL_LEFT)
    return replace(plan, images=images)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the demonstration: of every hospital, or of the plan."""

    hospital: Callable[[Hospital], Hospital] = lambda hospital: hospital
    plan: Callable[[Plan], Plan] = lambda plan: plan


CHANGES = {
    "none": Change(),
    "automatic exposure as at 'north'": Change(hospital=one_exposure),
    "breast crop and orientation": Change(plan=cropped),
}


def study(change: str, seed: int, folder: Path) -> dict[str, Any]:
    """Return one seed's kappas of each kind of model: at home by site, and the mean elsewhere."""
    torch.set_num_threads(1)
    plan = CHANGES[change].plan(replace(demo_plan(), seed=seed))
    sites = prepared(folder, plan, of=[CHANGES[change].hospital(hospital) for hospital in DEMO_HOSPITALS])
    result = simulate(SimulateRequest(plan=plan, sites=sites, drop=folder / "drop", threads=1, full=True), ENVIRONMENT)
    return {
        "home": {
            item.site: [of.kappa if of else None for of in (item.local, item.federated, item.finetuned)] for item in result.sites
        },
        "elsewhere": [mean.off_diagonal for mean in result.means],
    }


def print_change(change: str, results: Sequence[Mapping[str, Any]]) -> None:
    """Print one change's figures: each seed's means over sites, and the differences over seeds."""
    print(f"\n{change}\n\n| seed | local: home | elsewhere | federated: home | elsewhere | fine-tuned: home | elsewhere |")
    print("|---|---|---|---|---|---|---|")
    for result in results:
        home = [sum(column) / len(column) for column in zip(*result["home"].values(), strict=True)]
        pairs = zip(home, result["elsewhere"], strict=True)
        print(f"| {result['seed']} | " + " | ".join(f"{own:.3f} | {others:.3f}" for own, others in pairs) + " |")
    for site in results[0]["home"]:
        print(f"{site}: federated - local at home {with_interval([gain(result['home'][site]) for result in results])}")
    elsewhere = with_interval([gain(result["elsewhere"]) for result in results])
    home = with_interval([sum(map(gain, result["home"].values())) / len(result["home"]) for result in results])
    print(f"all sites: federated - local at home {home}, elsewhere {elsewhere}", flush=True)


def gain(kappas: Sequence[float]) -> float:
    """Return what the federated model has more than the local one."""
    return kappas[1] - kappas[0]


def main() -> None:
    """Run what is missing, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--changes", nargs="*", help="their names; without names, all")
    parser.add_argument("--work", type=Path, default=Path(".bench/demonstration"))
    parser.add_argument("--jobs", type=int, default=2, help="number of seeds to run at once, each with one thread")
    options = parser.parse_args()
    names = ["none"] if options.changes is None else options.changes or list(CHANGES)
    for name in names:
        folder = options.work / "".join(letter if letter.isalnum() else "-" for letter in name)
        print_change(name, run_seeds(partial(study, name), options.seeds, folder, options.jobs))


if __name__ == "__main__":
    main()

"""What federation brings to three small sites, and what decides it: BatchNorm's statistics, or the choice of the best model?

Three phantom hospitals with readers and anatomy that vary, about 33 training and 10 validation patients each, and about 95 test
patients, so that the outcome is measured well; 48 × 48 pixels; 20 rounds of two epochs of 4 or 5 steps, Adam's rate 3e-3,
halved every 7 rounds. The network is the small one: with its GroupNorm; with BatchNorm in its place; and with GroupNorm while
each site keeps Adam's moments from round to round. Nothing else is changed.

Neither the statistics nor the choice changes the training, so one run of a seed serves all of them: after every round the
received and the trained model are scored at each site on its validation patients and on all sites' test patients, with running
statistics as they are and measured again at the site. Which of these models is the best is then decided by each rule.

    python benchmarks/small_sites.py                  # six seeds, resumable: results stay in --work
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import phantom_federation
import torch
from phantom_federation import CPU, copied, kappa_and_loss, with_interval
from torch import nn

from fedcli.imaging.phantoms.hospitals import DEMO_HOSPITALS, Hospital
from fedcli.learning.networks import batch_norm, registry, weights
from fedcli.learning.seeds import derive_seed
from fedcli.learning.training.local_training import LocalTraining
from fedcli.plan import OptimizerState, Part, Precision
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fedcli.learning.samples import Samples
    from fedcli.plan import Plan
    from fedcli.tensors import Arrays

SEEDS = (11, 12, 13, 14, 15, 16)
"""Fixed before any run; the difficulty of the phantoms was set on seeds 101 and 102, by local models only."""
VARIATION = 0.25
NUM_PATIENTS, SHARES = 138, {"train": 0.22, "validation": 0.06, "test": 0.72}
RULES = ("highest", "within-error", "lowest-loss", "last")

GROUP, BATCH, MOMENTS = VARIANTS = ("GroupNorm", "BatchNorm", "GroupNorm, Adam's moments kept")
KINDS = ("as they are", "measured again")

Scored = dict[str, Any]
"""Of one model: {statistics: {"validation": (kappa, loss), "test": {site: kappa}}}."""


def small_plan(seed: int) -> Plan:
    """Return the plain hospitals' plan for so few patients, with Adam reset in every round and float32 throughout."""
    plan = phantom_federation.plain_plan()
    return replace(
        plan,
        seed=seed,
        split=replace(plan.split, **SHARES),
        training=replace(plan.training, precision=Precision.FLOAT32, optimizer_state=OptimizerState.RESET),
    )


def small_hospitals() -> tuple[Hospital, ...]:
    """Return the demonstration's hospitals with fewer patients, and with breasts that differ less."""
    return tuple(replace(hospital, num_patients=NUM_PATIENTS, variation=VARIATION) for hospital in DEMO_HOSPITALS)


def by_batch(module: nn.Module) -> nn.Module:
    """Replace the small network's GroupNorm by BatchNorm."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(parent, name, nn.BatchNorm2d(child.num_channels))
    return module


@dataclass(slots=True)
class Federation:
    """One seed's three sites, whose every model is scored.

    Attributes:
        plan: The plan.
        data: Each site's samples by part.
        module: The network.
        initial: φ(0).
        keeps_moments: Whether a site begins a round with Adam's moments of the last one.
        kinds: How running statistics are taken: as they are, and measured again at the site; only the first without BatchNorm.
        shared: The test kappas of the newest received model, which is the same at every site with statistics as they are.
    """

    plan: Plan
    data: Mapping[str, Mapping[Part, Samples]]
    module: nn.Module
    initial: Arrays
    kinds: tuple[str, ...]
    keeps_moments: bool = False
    moments: dict[str, Arrays] = field(default_factory=dict)
    shared: dict[int, dict[str, float]] = field(default_factory=dict)

    def score(self, arrays: Arrays, site: str, received: int | None = None) -> Scored:
        """Score a model on a site's validation patients and on all sites' test patients."""
        scored = {}
        for kind in self.kinds:
            weights.load_arrays(self.module, arrays)
            if kind == "measured again":
                self._recalibrate(site)
            validation = kappa_and_loss(self.module, self.data[site][Part.VALIDATION])
            test = self.shared.get(received) if received is not None and kind == "as they are" else None
            if test is None:
                test = {other: kappa_and_loss(self.module, parts[Part.TEST])[0] for other, parts in self.data.items()}
            if received is not None and kind == "as they are":
                self.shared = {received: test}
            scored[kind] = {"validation": validation, "test": test}
        return scored

    def train(self, site: str, start: Arrays, seed: int, rates: Sequence[float], on_epoch: Callable[[int, Arrays], None]) -> int:
        """Train at a site; return the steps. The network holds the result."""
        weights.load_arrays(self.module, start)
        samples = self.data[site][Part.TRAIN]
        training = LocalTraining(
            self.module,
            samples,
            self.plan.training,
            self.plan.augmentation,
            seed=seed,
            rates=rates,
            device=CPU,
            optimizer_state=self.moments.get(site),
        )

        def scored(epoch: int) -> None:
            arrays = copied(self.module)
            on_epoch(epoch, arrays)
            weights.load_arrays(self.module, arrays)
            self.module.train()

        result = training.run(Silent(), on_epoch=scored)
        if self.keeps_moments:
            self.moments[site] = result.optimizer_state
        return result.steps

    def local(self, site: str) -> list[Scored]:
        """Train the local-only baseline; score it after as many epochs as a round has."""
        plan, rows = self.plan, []
        rates = [plan.training.rate_in(number) for number in range(1, plan.rounds + 1) for _ in range(plan.training.epochs)]

        def keep(epoch: int, arrays: Arrays) -> None:
            if epoch % plan.training.epochs == 0:
                rows.append(self.score(arrays, site))

        self.train(site, self.initial, derive_seed(plan.seed, site, "local"), rates, keep)
        return rows

    def federated(self) -> dict[str, list[Scored]]:
        """Run Algorithm 1; return each site's candidates in the order of the rounds, without φ(0)."""
        plan, model = self.plan, self.initial
        rows: dict[str, list[Scored]] = {site: [] for site in self.data}
        for number in range(1, plan.rounds + 1):
            sums, steps = {name: np.zeros(array.shape) for name, array in model.items()}, 0
            for site, kept in rows.items():
                if number > 1:
                    kept.append(self.score(model, site, number))
                rates = (plan.training.rate_in(number),) * plan.training.epochs
                taken = self.train(site, model, derive_seed(plan.seed, site, "round", number), rates, lambda *_: None)
                trained = copied(self.module)
                kept.append(self.score(trained, site))
                for name in sums:
                    sums[name] += (trained[name].astype(np.float64) - model[name]) * taken
                steps += taken
            model = {name: (array + sums[name] / steps).astype(array.dtype) for name, array in model.items()}
        for site, kept in rows.items():
            kept.append(self.score(model, site, plan.rounds + 1))
        return rows

    def _recalibrate(self, site: str) -> None:
        samples, size = self.data[site][Part.TRAIN], self.plan.training.batch_size
        batch_norm.recalibrate(self.module, samples, batch_size=size, device=CPU, progress=Silent())


def study(seed: int, folder: Path) -> dict[str, Any]:
    """Return all candidates of one seed, for each variant."""
    torch.set_num_threads(1)
    plan = small_plan(seed)
    folders = phantom_federation.prepared(folder, plan, of=small_hospitals())
    data = {site: {part: phantom_federation.samples(path, plan, part) for part in Part} for site, path in folders.items()}
    result: dict[str, Any] = {
        "validated": {site: len(set(parts[Part.VALIDATION].units.tolist())) for site, parts in data.items()}
    }
    for variant in VARIANTS:
        module, initial = network(plan, batch=variant == BATCH)
        kinds = KINDS if variant == BATCH else KINDS[:1]
        federation = Federation(
            plan=plan, data=data, module=module, initial=initial, kinds=kinds, keeps_moments=variant == MOMENTS
        )
        local = result[GROUP]["local"] if variant == MOMENTS else {site: federation.local(site) for site in data}
        result[variant] = {"local": local, "federated": federation.federated()}
    return result


def network(plan: Plan, *, batch: bool) -> tuple[nn.Module, Arrays]:
    """Return a network, and φ(0) with the same convolutions whatever the normalisation."""
    module = registry.build(plan.network, len(plan.classes))
    initial = registry.initial_state(plan.network, len(plan.classes), plan.seed)
    weights.load_arrays(module, initial)
    if batch:
        by_batch(module)
    return module, copied(module)


def best(rows: Sequence[Scored], kind: str, rule: str, validated: int) -> Scored:
    """Return the candidate that a rule takes."""
    figures = [row[kind]["validation"] for row in rows]
    last = len(rows) - 1
    if rule == "lowest-loss":
        return rows[min(range(len(rows)), key=lambda number: figures[number][1])]
    if rule == "highest":
        return rows[max(range(len(rows)), key=lambda number: (figures[number][0], -figures[number][1]))]
    if rule == "within-error":
        least = max(kappa for kappa, _ in figures) - 0.5 / validated**0.5
        last = max(number for number, (kappa, _) in enumerate(figures) if kappa >= least)
    return rows[last]


def outcome(result: Mapping[str, Any], variant: str, which: str, kind: str, rule: str) -> tuple[float, float]:
    """Return one seed's mean kappa of the sites' best models, on their own test patients and on the others'."""
    own, others = [], []
    for site, rows in result[variant][which].items():
        test = best(rows, kind, rule, result["validated"][site])[kind]["test"]
        own.append(test[site])
        others += [kappa for other, kappa in test.items() if other != site]
    return statistics.fmean(own), statistics.fmean(others)


def print_table(results: Sequence[Mapping[str, Any]]) -> None:
    """Print every combination: means over seeds, and the difference to local models of the same network and rule."""
    print("\n| network | statistics | choice | local: own | others | federated: own | others | federated - local: own | others |")
    print("|---|---|---|---|---|---|---|---|---|")
    pairs = [(variant, kind) for variant in VARIANTS for kind in (KINDS if variant == BATCH else KINDS[:1])]
    for (variant, kind), rule in product(pairs, RULES):
        local, federated = (
            np.array([outcome(result, variant, which, kind, rule) for result in results]) for which in ("local", "federated")
        )
        figures = " | ".join(f"{value:.3f}" for value in (*local.mean(axis=0), *federated.mean(axis=0)))
        differences = " | ".join(with_interval(column.tolist()) for column in (federated - local).T)
        print(f"| {variant} | {kind} | {rule} | {figures} | {differences} |")


def main() -> None:
    """Run the seeds that are missing, and print the table."""
    print_table(phantom_federation.run_study(__doc__, study, SEEDS, Path(".bench/small-sites")))


if __name__ == "__main__":
    main()

"""How many validation patients the choice of the best model needs.

Three phantom hospitals train as in `small_sites.py`, with Adam's moments kept and about 33 training patients each; local
baselines train beside them. Each has about 310 validation patients and as many test patients. The candidates are a site's own
model after each round and each received one; all are scored on all of these patients. Then n validation patients are drawn, 200
times, every rule chooses by them, and the chosen model's kappa on the test patients tells what the choice was worth. `random` is
the mean of the candidates of the second half of the rounds; `best` has the highest kappa on the test patients, which nobody can
know.

    python benchmarks/choice.py                  # three seeds, resumable: results stay in --work
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import phantom_federation
import torch
from phantom_federation import CPU, with_interval
from small_sites import Federation, network, small_hospitals, small_plan

from fedcli.learning.evaluation import inference, metrics
from fedcli.learning.networks import weights
from fedcli.learning.seeds import derive_seed
from fedcli.measures import kappa_error
from fedcli.plan import Part
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fedcli.learning.samples import Samples
    from fedcli.tensors import Arrays

    Floats = NDArray[np.float64]

SEEDS = (51, 52, 53)
"""Fixed before any run."""
NUM_PATIENTS, SHARES = 660, {"train": 0.05, "validation": 0.475, "test": 0.475}
COUNTS = (5, 10, 20, 40, 80, 160, 300)
DRAWS = 200
RULES = ("highest", "smoothed", "within-error", "lowest-loss", "last", "random", "best")
KINDS = ("local", "federated")


@dataclass(slots=True)
class Predicting(Federation):
    """A federation whose candidates carry what they predict for every validation patient."""

    def score(self, arrays: Arrays, site: str, received: int | None = None) -> dict[str, Any]:
        """Score a model: truth, prediction and loss of the site's validation patients, and the kappa of its test patients."""
        weights.load_arrays(self.module, arrays)
        truth, predicted, losses = self._patients(self.data[site][Part.VALIDATION])
        test, answers, _ = self._patients(self.data[site][Part.TEST])
        return {
            "received": received is not None,
            "truth": truth.tolist(),
            "predicted": predicted.tolist(),
            "losses": losses.tolist(),
            "test": metrics.kappa(test, answers, len(self.plan.classes)) or 0.0,
        }

    def _patients(self, samples: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
        by_image = inference.probabilities(self.module, samples.images, device=CPU, progress=Silent())
        probabilities = metrics.mean_by_unit(by_image, samples.units)
        truth = metrics.label_by_unit(samples.labels, samples.units, samples.num_classes)
        own = np.take_along_axis(probabilities, truth[:, None], axis=1)[:, 0]
        return truth, probabilities.argmax(axis=1), -np.log(np.maximum(own, np.finfo(np.float64).tiny))


def study(seed: int, folder: Path) -> dict[str, Any]:
    """Return all candidates of one seed."""
    torch.set_num_threads(1)
    plan = small_plan(seed)
    plan = replace(plan, split=replace(plan.split, **SHARES))
    hospitals = [replace(hospital, num_patients=NUM_PATIENTS) for hospital in small_hospitals()]
    folders = phantom_federation.prepared(folder, plan, of=hospitals)
    data = {site: {part: phantom_federation.samples(path, plan, part) for part in Part} for site, path in folders.items()}
    module, initial = network(plan, batch=False)
    federation = Predicting(plan=plan, data=data, module=module, initial=initial, kinds=(), keeps_moments=True)
    return {"federated": federation.federated(), "local": {site: federation.local(site) for site in data}}


def chosen(
    rows: Sequence[Mapping[str, Any]], kappas: NDArray[np.float64], losses: NDArray[np.float64], n: int, rule: str
) -> float:
    """Return the test kappa of the candidate that a rule takes.

    Args:
        rows: The candidates in the order of the rounds.
        kappas: Their kappas on n validation patients.
        losses: Their losses there.
        n: So many patients.
        rule: One of `RULES`.
    """
    test = np.array([row["test"] for row in rows])
    if rule == "random":
        return float(test[len(test) // 2 :].mean())
    if rule == "best":
        return float(test.max())
    if rule == "lowest-loss":
        return float(test[losses.argmin()])
    if rule == "within-error":
        return float(test[np.flatnonzero(kappas >= kappas.max() - kappa_error(n))[-1]])
    if rule == "last":
        return float(test[-1])
    if rule == "smoothed":
        kappas = smoothed(kappas, np.array([row["received"] for row in rows]))
    return float(test[np.lexsort((losses, -kappas))[0]])


def smoothed(kappas: Floats, received: NDArray[np.bool_]) -> Floats:
    """Return the mean of every candidate's kappa and of the two before it that were received, or trained, as it was."""
    means = kappas.copy()
    for origin in (True, False):
        (rows,) = np.nonzero(received == origin)
        for number, row in enumerate(rows):
            means[row] = kappas[rows[max(0, number - 2) : number + 1]].mean()
    return means


def outcomes(result: Mapping[str, Any], kind: str, n: int) -> dict[str, float]:
    """Return one seed's mean test kappa by rule, over sites and draws of n validation patients."""
    values: dict[str, list[float]] = {rule: [] for rule in RULES}
    for site, rows in result[kind].items():
        truth, losses = np.array(rows[0]["truth"]), np.array([row["losses"] for row in rows])
        cells = np.eye(16)[4 * truth + np.array([row["predicted"] for row in rows])]  # (candidates, patients, confusion)
        generator = np.random.default_rng(derive_seed(result["seed"], site, kind, n))
        for _ in range(DRAWS):
            drawn = generator.choice(len(truth), min(n, len(truth)), replace=False)
            kappas = np.nan_to_num(metrics.kappas(cells[:, drawn].sum(axis=1)))
            for rule, of in values.items():
                of.append(chosen(rows, kappas, losses[:, drawn].mean(axis=1), n, rule))
    return {rule: statistics.fmean(of) for rule, of in values.items()}


def print_table(results: Sequence[Mapping[str, Any]]) -> None:
    """Print the mean test kappa for every number of validation patients, and what it gains over the last model."""
    for kind in KINDS:
        print(f"\n| {kind}: validation patients | " + " | ".join(RULES) + " | highest - last | highest - random |")
        print("|---" * (len(RULES) + 3) + "|")
        for n in COUNTS:
            rows = [outcomes(result, kind, n) for result in results]
            means = " | ".join(f"{statistics.fmean(row[rule] for row in rows):.3f}" for rule in RULES)
            gains = " | ".join(with_interval([row["highest"] - row[rule] for row in rows]) for rule in ("last", "random"))
            print(f"| {n} | {means} | {gains} |")


if __name__ == "__main__":
    print_table(phantom_federation.run_study(__doc__, study, SEEDS, Path(".bench/choice")))

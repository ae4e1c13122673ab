"""Changes of the study's plan that do not change its training, computed from the finished study's drop folder.

    python benchmarks/study.py --seeds 21            # first the study
    python benchmarks/study_replay.py --seeds 21

Neither the choice of the best model nor BatchNorm's running statistics enter into a gradient. So with another choice, or with
statistics that each site measures again, every round has the same trained weights, and the candidates can be read from the drop
folder: φ(t-1), and φ(t-1) + Δφ(t) after the site's only epoch. Each is scored and offered to the same `Selection` as in
`train-round`, in the same order. The global model with statistics measured again has the weighted mean of the sites' statistics.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import study
import torch
from phantom_federation import prepared, run_seeds

from fedcli import tensors, wire
from fedcli.exchange import layout
from fedcli.exchange.records import RoundRecord, UpdateRecord
from fedcli.imaging.phantoms.seven_hospitals import seven_hospitals
from fedcli.learning.networks import weights
from fedcli.plan import Choice, Statistics
from fedcli.progress import Silent
from fedcli.site.learner import Learner
from fedcli.site.selection import WEIGHTS, Origin, Selection
from fedcli.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fedcli.plan import Plan
    from fedcli.tensors import Arrays

CHANGES = {
    "none": (Statistics.AVERAGE, Choice.HIGHEST),
    "recalibration": (Statistics.RECALIBRATE, Choice.HIGHEST),
    "within-error": (Statistics.AVERAGE, Choice.WITHIN_ERROR),
    "kappa averaged over neighbouring rounds": (Statistics.AVERAGE, Choice.SMOOTHED),
    "lowest-loss": (Statistics.AVERAGE, Choice.LOWEST_LOSS),
}
POOLED = "pooled"
RUNNING = ("running_mean", "running_var")


@dataclass(frozen=True, slots=True)
class Replay:
    """A federation that has run, and the models that the changes choose from it.

    Attributes:
        run: The federation, with one epoch per round.
        choices: Where the chosen models are kept.
    """

    run: study.Run
    choices: Path

    def choose(self, site: str, changes: Iterable[str]) -> list[Arrays]:
        """Keep the model that each change chooses at a site; return the statistics measured again of its last own models."""
        learner = Learner(Workspace.open(self.run.folder / "sites" / site), self.run.plan, Silent())
        plans = {of: with_statistics(self.run.plan, of) for of in sorted({CHANGES[change][0] for change in changes})}
        selections = {change: Selection.resume(self._folder(change, site), CHANGES[change][1], None) for change in changes}
        measured = []
        for number, origin, base, arrays in self._candidates(site):
            for statistics, plan in plans.items():
                learner.plan = plan
                weights.load_arrays(learner.module, arrays)
                learner.recalibrate("")
                merit, model = learner.merit(learner.validate("")), weights.to_arrays(learner.module)
                for change, selection in selections.items():
                    if CHANGES[change][0] is statistics:
                        selection.offer(model, number, origin, merit, base, epoch=int(origin is Origin.TRAINED))
                if origin is Origin.TRAINED and statistics is Statistics.RECALIBRATE:
                    measured.append({name: array.copy() for name, array in model.items() if name.endswith(RUNNING)})
        return measured[-study.LAST :]

    def _candidates(self, site: str) -> Iterator[tuple[int, Origin, str, Arrays]]:
        """Return a site's candidates as `train-round` offers them: round, origin, digest of the base, weights."""
        for number in range(1, self.run.plan.rounds + 1):
            start, base = self.run.global_model(number - 1), wire.sha256(self._read(layout.round_record(number - 1)))
            if number > 1:
                yield number - 1, Origin.RECEIVED, base, start
            update = wire.decode(UpdateRecord, self._read(layout.update(site, number)))
            delta = tensors.read(self.run.folder / "drop" / update.artifacts[0].key)
            yield number, Origin.TRAINED, base, {name: start[name] + delta[name] for name in start}

    def shares(self) -> dict[str, float]:
        """Return each site's share in the global model of the last round; steps, and so shares, are the same in every round."""
        record = wire.decode(RoundRecord, self._read(layout.round_record(self.run.plan.rounds)))
        total = sum(item.weight for item in record.contributions)
        return {item.site: item.weight / total for item in record.contributions}

    def chosen(self, change: str, site: str) -> Arrays:
        """Return the model that a change chooses at a site."""
        return tensors.read(self._folder(change, site) / WEIGHTS)

    def _folder(self, change: str, site: str) -> Path:
        return self.choices / change.replace(" ", "-") / site

    def _read(self, key: str) -> bytes:
        return (self.run.folder / "drop" / key).read_bytes()


def with_statistics(plan: Plan, statistics: Statistics) -> Plan:
    """Return a plan with another way to take running statistics."""
    return replace(plan, training=replace(plan.training, statistics=statistics))


def replay(work: Path, scale: float, rounds: int | None, seed: int, folder: Path) -> dict[str, Any]:
    """Return the result of every change for one seed of the study."""
    torch.set_num_threads(1)
    plan = study.study_plan(study.NETWORKS[0], seed)
    plan, home = replace(plan, rounds=rounds or plan.rounds), work / study.UNCHANGED / f"seed-{seed}"
    run = study.Run(plan, home, prepared(home, plan, of=seven_hospitals(scale)))
    shutil.rmtree(folder, ignore_errors=True)
    federation = Replay(run, folder / "federation")
    measured = {site: federation.choose(site, CHANGES) for site in run.sites}
    pooled = Replay(study.Run(plan, home / POOLED, {}), folder / POOLED)
    pooled.choose(POOLED, [change for change, (statistics, _) in CHANGES.items() if statistics is Statistics.AVERAGE])
    averaged = [run.global_model(number) for number in range(max(0, plan.rounds - study.LAST) + 1, plan.rounds + 1)]
    recalibrated = [
        model | weighted_mean({site: of[number] for site, of in measured.items()}, federation.shares())
        for number, model in enumerate(averaged)
    ]
    results = {}
    for change, (statistics, _) in CHANGES.items():
        last = averaged if statistics is Statistics.AVERAGE else recalibrated
        own = {site: federation.chosen(change, site) for site in run.sites}
        of_pooled = pooled.chosen(change if statistics is Statistics.AVERAGE else "none", POOLED)
        models = {"federated": own, "global": study.final_and_mean(last)}
        results[change] = study.result_of(run, models, run.predicted(of_pooled))
    return results


def weighted_mean(of_sites: Mapping[str, Arrays], shares: Mapping[str, float]) -> Arrays:
    """Return the mean of the sites' arrays, each in its dtype."""
    first = next(iter(of_sites.values()))
    means = {name: sum(shares[site] * of[name] for site, of in of_sites.items()) for name in first}
    return {name: np.asarray(mean, first[name].dtype) for name, mean in means.items()}


def main() -> None:
    """Replay the study's finished seeds, and print the table of changes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=study.SEEDS)
    parser.add_argument("--scale", type=float, default=study.SCALE, help="images, as a fraction of the study's")
    parser.add_argument("--rounds", type=int, help="for a rehearsal")
    parser.add_argument("--work", type=Path, default=Path(".bench/study"))
    parser.add_argument("--jobs", type=int, default=2, help="number of seeds to run at once, each with one thread")
    options = parser.parse_args()
    work = options.work / study.NETWORKS[0]
    run = partial(replay, work, options.scale, options.rounds)
    replayed = run_seeds(run, options.seeds, work / "replay", options.jobs)
    study.report_variants({change: [{"seconds": of["seconds"], **of[change]} for of in replayed] for change in CHANGES})


if __name__ == "__main__":
    main()

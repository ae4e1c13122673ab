"""The published study, rehearsed on seven phantom hospitals: its tables, its four claims, and what would have helped.

    python benchmarks/study.py                              # DenseNet-121, three seeds: hours each
    python benchmarks/study.py --network small              # the small network: minutes a seed
    python benchmarks/study.py --network small --variants   # ... and every variant of the plan, one change at a time

`examples/seven-hospitals` describes the hospitals and the plan. Each seed is a federation with local baselines, fine-tuning and
scores of all models at all sites, and a *pooled* training: one site that holds all hospitals' images, with the same recipe and
therefore as many steps as all sites take together. A variant changes one setting of the plan; its federation trains anew, and so
does the pooled training where the setting concerns it. Everything resumes: a finished run is a JSON file, an unfinished one a
federation. Finished seeds are reported as such.

It prints tables for docs/studies.md. Intervals are over patients; a mean over seeds also has Student's interval over them.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from phantom_federation import (
    ENVIRONMENT,
    interval,
    kappa_interval,
    mean_difference,
    predictions,
    prepared,
    run_seeds,
    with_both_intervals,
)

from fedcli import plan as plans
from fedcli import tensors, wire
from fedcli.errors import DataError
from fedcli.exchange import layout
from fedcli.exchange.records import Role, RoundRecord
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.dataset import prepared_dataset
from fedcli.imaging.phantoms.hospitals import LABELS
from fedcli.imaging.phantoms.seven_hospitals import seven_hospitals
from fedcli.imaging.preparation import LabelFiles
from fedcli.learning.evaluation import metrics
from fedcli.learning.networks import registry, weights
from fedcli.operations.prepare import PrepareRequest, prepare
from fedcli.operations.simulate import SimulateRequest, simulate
from fedcli.plan import (
    Aggregation,
    Choice,
    ClassWeights,
    Confidentiality,
    Crop,
    Images,
    Intensity,
    Network,
    Normalisation,
    OptimizerState,
    Orientation,
    Plan,
    Precision,
    Rule,
    Sampling,
    Statistics,
)
from fedcli.progress import Silent
from fedcli.site.selection import newest_state
from fedcli.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phantom_federation import Pair

    from fedcli.learning.evaluation.metrics import Predictions
    from fedcli.tensors import Arrays

SEEDS = (21, 22, 23)
"""Fixed before any run."""
PLAN = Path(__file__).parents[1] / "examples/seven-hospitals/plan.toml"
NETWORKS = ("densenet121", registry.SMALL)
SCALE = 0.03
"""Images, as a fraction of the study's."""
ACCEPTABLE = 0.61
"""Kappas from here on are substantial agreement (Landis and Koch 1977)."""
UNCHANGED = "study"
"""The folder of the plan without a variant."""
REFERENCE = tuple((level / 63) ** 1.5 for level in range(64))
"""Quantiles of the intensities that every breast gets."""
LAST = 5
"""Of so many last global models, the weights are averaged."""
PAPER = {"local": (0.64, 0.18), "federated": (0.68, 0.26)}
PAPER_GLOBAL = (0.51, 0.52, 0.49, 0.31, 0.49, 0.31, 0.09)


def training(**changes: Any) -> Callable[[Plan], Plan]:
    """Return a change of the plan's training."""
    return lambda plan: replace(plan, training=replace(plan.training, **changes))


def images(**changes: Any) -> Callable[[Plan], Plan]:
    """Return a change of the plan's images."""
    return lambda plan: replace(plan, images=Images(size=plan.images.size, **changes))


def aggregation(**changes: Any) -> Callable[[Plan], Plan]:
    """Return a change of the plan's aggregation."""
    return lambda plan: replace(plan, aggregation=Aggregation(**changes))


def choice(choice: Choice) -> Callable[[Plan], Plan]:
    """Return a change of the choice of the best model."""
    return lambda plan: replace(plan, evaluation=replace(plan.evaluation, choice=choice))


@dataclass(frozen=True, slots=True)
class Variant:
    """One change of the plan.

    Attributes:
        change: The change.
        network: The only network that it concerns; None for all. The small one has no BatchNorm, and only its rounds have two
            epochs.
        pooled: Whether it also changes a training without federation.
    """

    change: Callable[[Plan], Plan]
    network: str | None = None
    pooled: bool = True


VARIANTS = {
    "equalized": Variant(images(intensity=Intensity.EQUALIZED)),
    "reference": Variant(images(intensity=Intensity.REFERENCE, reference=REFERENCE)),
    "breast crop and orientation": Variant(images(crop=Crop.BREAST, orientation=Orientation.CHEST_WALL_LEFT)),
    "FedBN": Variant(training(statistics=Statistics.LOCAL), network="densenet121", pooled=False),
    "recalibration": Variant(training(statistics=Statistics.RECALIBRATE), network="densenet121", pooled=False),
    "GroupNorm": Variant(
        lambda plan: replace(plan, network=replace(plan.network, normalisation=Normalisation.GROUP)), network="densenet121"
    ),
    "half of each step (exponential average of global models)": Variant(
        aggregation(rule=Rule.MOMENTUM, momentum=0.0, server_rate=0.5), pooled=False
    ),
    "uniform average of five global models": Variant(aggregation(rule=Rule.AVERAGED, averaged_rounds=5), pooled=False),
    "one epoch per round, twice as many rounds": Variant(
        lambda plan: replace(
            plan,
            rounds=2 * plan.rounds,
            training=replace(plan.training, epochs=plan.training.epochs // 2, rate_step=2 * plan.training.rate_step),
        ),
        network=registry.SMALL,
        pooled=False,
    ),
    "Adam reset in each round": Variant(training(optimizer_state=OptimizerState.RESET)),
    "FedProx, 0.01": Variant(training(proximal=0.01), pooled=False),
    "server momentum 0.5": Variant(aggregation(rule=Rule.MOMENTUM, momentum=0.5), pooled=False),
    "class weights, shuffled batches": Variant(
        training(sampling=Sampling.SHUFFLED, class_weights=ClassWeights.INVERSE_FREQUENCY)
    ),
    "within-error": Variant(choice(Choice.WITHIN_ERROR)),
    "kappa averaged over neighbouring rounds": Variant(choice(Choice.SMOOTHED)),
    "lowest-loss": Variant(choice(Choice.LOWEST_LOSS)),
}


def study_plan(network: str, seed: int) -> Plan:
    """Return the example's plan, unsealed, so that the global models can be read.

    With the small network it has twenty rounds of two epochs at the demonstration's rate, in float32.
    """
    plan = replace(plans.load(PLAN), seed=seed, confidentiality=Confidentiality(sealing=False))
    if network != registry.SMALL:
        return plan
    rates = replace(plan.training, epochs=2, rate=3e-3, rate_decay=0.5, rate_step=7, precision=Precision.FLOAT32)
    return replace(plan, rounds=20, network=Network(name=network), training=rates)


@dataclass(frozen=True, slots=True)
class Run:
    """A federation of the seven hospitals on this machine.

    Attributes:
        plan: Its plan.
        folder: Holds everything.
        sites: Every hospital's prepared data.
    """

    plan: Plan
    folder: Path
    sites: Mapping[str, Path]

    def federated(self, *, full: bool) -> dict[str, dict[str, Arrays]]:
        """Run the federation; return the sites' best models by kind and site, and the global ones under `global`."""
        request = SimulateRequest(plan=self.plan, sites=self.sites, drop=self.folder / "drop", threads=1, full=full)
        simulate(request, ENVIRONMENT)
        roots = request.workspaces
        models = {"federated": {site: own_best(root) for site, root in roots.items()}}
        for kind in ("local", "finetuned") if full else ():
            models[kind] = {site: tensors.read(root / "models" / kind / "best.safetensors") for site, root in roots.items()}
        first = max(0, self.plan.rounds - LAST) + 1
        return models | {"global": final_and_mean([self.global_model(number) for number in range(first, self.plan.rounds + 1)])}

    def global_model(self, number: int) -> Arrays:
        """Return the global model of a round; with some rules its record also names the state of the server."""
        drop = self.folder / "drop"
        record = wire.decode(RoundRecord, (drop / layout.round_record(number)).read_bytes())
        (key,) = (item.key for item in record.artifacts if item.role is Role.MODEL)
        return tensors.read(drop / key)

    def pooled(self) -> Arrays:
        """Train at one site that holds all hospitals' images; return its best model.

        A patient's part depends on the seed and the patient, so nobody who is tested elsewhere trains here.
        """
        folder = self.folder / "pooled"
        out = folder / "prepared"
        try:
            prepared_dataset.load(out, wire.digest(self.plan.preparation), self.plan.allow_empty)
        except DataError:
            tables = [path.read_text().splitlines() for path in sorted((self.folder / "phantoms").glob(f"*/{LABELS}"))]
            folder.mkdir(exist_ok=True)
            labels = folder / LABELS
            labels.write_text("\n".join([tables[0][0], *(line for table in tables for line in table[1:])]) + "\n")
            archive = ImageArchive(folder=self.folder / "phantoms")
            prepare(
                PrepareRequest(
                    archive=archive, labels=LabelFiles(table=labels), workspace=folder / "none", plan=self.plan, out=out
                ),
                Silent(),
            )
        simulate(SimulateRequest(plan=self.plan, sites={"pooled": out}, drop=folder / "drop", threads=1), ENVIRONMENT)
        return own_best(folder / "sites/pooled")

    def predicted(self, model: Arrays) -> dict[str, Predictions]:
        """Return a model's predictions for every site's test patients."""
        module = registry.build(self.plan.network, len(self.plan.classes))
        weights.load_arrays(module, model)
        return {site: predictions(module, path, self.plan) for site, path in self.sites.items()}


def final_and_mean(last: Sequence[Arrays]) -> dict[str, Arrays]:
    """Return the last of several models, and the mean of their weights."""
    averaged = {name: (sum(model[name] for model in last) / len(last)).astype(last[0][name].dtype) for name in last[0]}
    return {"final": last[-1], f"mean of the last {len(last)}": averaged}


def own_best(root: Path) -> Arrays:
    """Return a site's best federated model."""
    state = newest_state(Workspace.open(root))
    assert state is not None
    return tensors.read(state / "best.safetensors")


def study(network: str, variant: str, scale: float, rounds: int | None, seed: int, folder: Path) -> dict[str, Any]:
    """Run one seed of the study, or of a variant of it; return what `result_of` says of it."""
    torch.set_num_threads(1)
    base = study_plan(network, seed)
    base = replace(base, rounds=rounds or base.rounds)

    def run_of(plan: Plan, folder: Path) -> Run:
        return Run(plan, folder, prepared(folder, plan, of=seven_hospitals(scale)))

    run = run_of(VARIANTS[variant].change(base) if variant else base, folder)
    pooled_run = run
    if variant and not VARIANTS[variant].pooled:  # then the pooled training of the unchanged plan serves
        pooled_run = run_of(base, folder.parents[1] / UNCHANGED / folder.name)
    return result_of(run, run.federated(full=not variant), run.predicted(pooled_run.pooled()))


def result_of(run: Run, models: Mapping[str, Mapping[str, Arrays]], pooled: Mapping[str, Predictions]) -> dict[str, Any]:
    """Score models at every site; return kappas, and paired differences with their resamples.

    Args:
        run: Their federation.
        models: By kind and site, and the global ones under `global`; without local ones, three claims are left out.
        pooled: What the pooled training's model predicts at every site.
    """
    predicted = {kind: {site: run.predicted(model) for site, model in of.items()} for kind, of in models.items()}
    sites, seed = tuple(run.sites), run.plan.seed

    def pairs(first: str, second: str, *, own: bool) -> list[Pair]:
        return [
            (target, predicted[first][source][target], predicted[second][source][target])
            for source, target in product(sites, sites)
            if (source == target) is own
        ]

    differences = {
        f"{name} minus pooled": [(site, by_site[site], pooled[site]) for site in sites]
        for name, by_site in predicted["global"].items()
    }
    differences["own minus pooled"] = [(site, predicted["federated"][site][site], pooled[site]) for site in sites]
    if "local" in models:
        differences["home"] = pairs("federated", "local", own=True)
        differences["elsewhere"] = pairs("federated", "local", own=False)
        differences["fine-tuning"] = pairs("finetuned", "federated", own=True)
    return {
        "patients": [len(pooled[site].truth) for site in sites],
        "kappas": {
            kind: [[kappa_of(of[target]) for target in sites] for of in rows.values()] for kind, rows in predicted.items()
        },
        "pooled": [kappa_of(pooled[site]) for site in sites],
        "upper": [kappa_interval(predicted["global"]["final"][site], site, seed)[1] for site in sites],
        "differences": {name: mean_difference(of, seed) for name, of in differences.items()},
    }


def kappa_of(predictions: Predictions) -> float:
    """Return the linear weighted kappa; 0 where it is undefined."""
    return metrics.kappa(predictions.truth, predictions.predicted, predictions.num_classes) or 0.0


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default=NETWORKS[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--variants", nargs="*", help="their names; without names, all that the network can have")
    parser.add_argument("--scale", type=float, default=SCALE, help="images, as a fraction of the study's")
    parser.add_argument("--rounds", type=int, help="for a rehearsal")
    parser.add_argument("--work", type=Path, default=Path(".bench/study"))
    parser.add_argument("--jobs", type=int, default=2, help="number of seeds to run at once, each with one thread")
    options = parser.parse_args()
    work = options.work / options.network

    def results(variant: str) -> list[dict[str, Any]]:
        run = partial(study, options.network, variant, options.scale, options.rounds)
        return run_seeds(run, options.seeds, work / (variant.replace(" ", "-") or UNCHANGED), options.jobs)

    base = results("")
    report(base)
    if options.variants is not None:
        fitting = [name for name, variant in VARIANTS.items() if variant.network in {None, options.network}]
        names = options.variants or fitting
        report_variants({"none": base} | {name: results(name) for name in names})


def report(results: Sequence[Mapping[str, Any]]) -> None:
    """Print Table 2, its Global row, Fig. 5 and the claims."""
    for result in results:
        print(f"\nSeed {result['seed']}, {result['seconds']} s, test patients {' + '.join(map(str, result['patients']))}")
        print("\n| Table 2 | " + " | ".join(map(str, range(1, len(result["patients"]) + 1))) + " |")
        print("|---" * (len(result["patients"]) + 1) + "|")
        for kind, letter in (("local", "a"), ("federated", "b")):
            for number, row in enumerate(result["kappas"][kind], 1):
                print(f"| ({letter}) {number} | {figures(row)} |")
        print(f"| Global | {figures(result['kappas']['global'][0])} |")
        print(f"| Global, the paper's | {figures(PAPER_GLOBAL)} |")
        print(f"| pooled | {figures(result['pooled'])} |")
        for kind in ("local", "federated", "finetuned"):
            print(f"| Fig. 5, {kind} | {figures(diagonal(result, kind))} |")
    print("\n| models | own patients | others' | the paper's | |\n|---|---|---|---|---|")
    for kind, paper in PAPER.items():
        own, others = means(results, kind)
        print(f"| {kind} | {own:.3f} | {others:.3f} | {paper[0]:.2f} | {paper[1]:.2f} |")
    print("\n| claim | seed | difference of kappas, 95 % interval over patients | verdict |\n|---|---|---|---|")
    for name, key in (
        ("better at home, + 6.3 %", "home"),
        ("better elsewhere, + 45.8 %", "elsewhere"),
        ("fine-tuning helps all but one", "fine-tuning"),
    ):
        for result in results:
            print(f"| {name} | {result['seed']} | {claim(result, key)} |")
    for result in results:
        below = sum(value < ACCEPTABLE for value in result["upper"])
        verdict = "shown" if below else "not shown"
        shown = f"below {ACCEPTABLE} beyond chance at {below} of {len(result['upper'])} sites"
        print(f"| the final global model is not acceptable on some sites | {result['seed']} | {shown} | {verdict} |")


def claim(result: Mapping[str, Any], key: str) -> str:
    """Return a claim's difference and verdict; fine-tuning also counts the sites where it helps."""
    difference, drawn = result["differences"][key]
    low, high = interval(drawn)
    verdict = "shown" if low > 0 else "the opposite is shown" if high < 0 else "not shown"
    relative = ""
    if key == "fine-tuning":
        gains = [
            after > before for before, after in zip(diagonal(result, "federated"), diagonal(result, "finetuned"), strict=True)
        ]
        relative = f"; at {sum(gains)} of {len(gains)} sites"
    else:
        local = means([result], "local")[key == "elsewhere"]
        relative = f", {100 * difference / local:+.1f} %" if local > 0 else ""
    return f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]{relative} | {verdict}"


def report_variants(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print each variant's kappas and its differences to the pooled training: means over seeds."""
    final, averaged = (key for key in results["none"][0]["differences"] if key.endswith("minus pooled") and "own" not in key)
    print(f"\n| change | own: home | elsewhere | global | pooled | global - pooled | {averaged} | own - pooled | minutes |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, of in results.items():
        own, others = means(of, "federated")
        global_mean = statistics.fmean(statistics.fmean(result["kappas"]["global"][0]) for result in of)
        pooled = statistics.fmean(statistics.fmean(result["pooled"]) for result in of)
        shown = " | ".join(
            with_both_intervals([result["differences"][key] for result in of]) for key in (final, averaged, "own minus pooled")
        )
        minutes = statistics.fmean(result["seconds"] for result in of) / 60
        print(f"| {name} | {own:.3f} | {others:.3f} | {global_mean:.3f} | {pooled:.3f} | {shown} | {minutes:.0f} |")


def figures(values: Sequence[float]) -> str:
    """Return kappas as cells of a row."""
    return " | ".join(f"{value:.2f}" for value in values)


def diagonal(result: Mapping[str, Any], kind: str) -> list[float]:
    """Return the kappas of one kind of model on its own site's patients."""
    return [row[site] for site, row in enumerate(result["kappas"][kind])]


def means(results: Sequence[Mapping[str, Any]], kind: str) -> tuple[float, float]:
    """Return the means of the diagonal and of all other cells, over seeds."""
    own = [value for result in results for value in diagonal(result, kind)]
    others = [
        value
        for result in results
        for source, row in enumerate(result["kappas"][kind])
        for target, value in enumerate(row)
        if source != target
    ]
    return statistics.fmean(own), statistics.fmean(others)


if __name__ == "__main__":
    main()

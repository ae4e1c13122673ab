"""Shared by the studies of training: phantom hospitals, runs that resume after an interruption, paired differences of kappa."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import stdtrit

from fedcli import plan as plans
from fedcli import wire
from fedcli.environment import Environment
from fedcli.imaging.dataset import prepared_dataset
from fedcli.imaging.phantoms.hospitals import PLAIN_HOSPITALS, Hospital
from fedcli.learning.evaluation import bootstrap, inference, metrics
from fedcli.learning.evaluation.metrics import Predictions
from fedcli.learning.networks import registry, weights
from fedcli.learning.samples import Samples
from fedcli.learning.seeds import derive_seed
from fedcli.learning.training.local_training import LocalTraining
from fedcli.operations.demo import prepared_phantoms
from fedcli.plan import Choice, Confidentiality, Part, Precision, Split
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn

    from fedcli.plan import Plan
    from fedcli.tensors import Arrays

CPU = torch.device("cpu")
RESAMPLES = 2000
ENVIRONMENT = Environment(progress=Silent(), passphrase=str)

Pair = tuple[str, "Predictions", "Predictions"]
"""A site, and two models' predictions for its patients."""


def demo_plan() -> Plan:
    """Return the demonstration's plan."""
    with as_file(files("fedcli").joinpath("demo_plan.toml")) as path:
        return plans.load(path)


def plain_plan() -> Plan:
    """Return the demonstration's plan for the plain hospitals, whose phantoms are easy."""
    plan = demo_plan()
    return replace(
        plan,
        rounds=20,
        split=Split(train=0.4, validation=0.17, test=0.43),
        training=replace(plan.training, precision=Precision.AUTO, rate_step=7),
        evaluation=replace(plan.evaluation, choice=Choice.HIGHEST),
        confidentiality=Confidentiality(sealing=False),  # the studies read the global models
    )


def prepared(
    folder: Path, plan: Plan, num_patients: int | None = None, of: Sequence[Hospital] = PLAIN_HOSPITALS
) -> dict[str, Path]:
    """Return every hospital's prepared data; those of an earlier run are used again."""
    phantoms = [replace(hospital, num_patients=num_patients or hospital.num_patients) for hospital in of]
    return prepared_phantoms(folder, phantoms, plan, ENVIRONMENT)


def samples(folder: Path, plan: Plan, part: Part) -> Samples:
    """Return one part of prepared data."""
    data = prepared_dataset.load(folder, wire.digest(plan.preparation), plan.allow_empty)
    rows = data.rows(part)
    _, units = np.unique(np.array(data.patients[rows], dtype=str), return_inverse=True)
    return Samples(
        images=data.images[rows], labels=data.labels[rows], units=units.astype(np.int64), num_classes=len(plan.classes)
    )


def local_model(plan: Plan, site: str, parts: Mapping[Part, Samples]) -> Arrays:
    """Return a site's local-only baseline: as many epochs as a federation has, the model with the highest validation kappa."""
    module = registry.build(plan.network, len(plan.classes))
    weights.load_arrays(module, registry.initial_state(plan.network, len(plan.classes), plan.seed))
    rates = [plan.training.rate_in(number) for number in range(1, plan.rounds + 1) for _ in range(plan.training.epochs)]
    best: list[tuple[float, Arrays]] = []

    def keep(_epoch: int) -> None:
        kappa, _ = kappa_and_loss(module, parts[Part.VALIDATION])
        if not best or kappa > best[0][0]:
            best[:] = [(kappa, copied(module))]

    seed = derive_seed(plan.seed, site, "local")
    training = LocalTraining(module, parts[Part.TRAIN], plan.training, plan.augmentation, seed=seed, rates=rates, device=CPU)
    training.run(Silent(), on_epoch=keep)
    return best[0][1]


def copied(module: nn.Module) -> Arrays:
    """Return a network's weights, which later training does not change."""
    return {name: array.copy() for name, array in weights.to_arrays(module).items()}


def kappa_and_loss(module: nn.Module, samples: Samples) -> tuple[float, float]:
    """Return a network's kappa on patients, 0 where it is undefined, and its loss."""
    by_image = inference.probabilities(module, samples.images, device=CPU, progress=Silent())
    predicted = metrics.mean_by_unit(by_image, samples.units)
    truth = metrics.label_by_unit(samples.labels, samples.units, samples.num_classes)
    kappa = metrics.kappa(truth, predicted.argmax(axis=1), samples.num_classes)
    return kappa or 0.0, metrics.cross_entropy(truth, predicted)


def run_study(about: str, study: Callable[[int, Path], Mapping[str, object]], seeds: Sequence[int], work: Path) -> list[dict]:
    """Return a study's result for each seed, as its command line asks for; the folder is the default of --work."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=work)
    parser.add_argument("--jobs", type=int, default=2, help="number of seeds to run at once, each with one thread")
    options = parser.parse_args()
    return run_seeds(study, seeds, options.work, options.jobs)


def run_seeds(study: Callable[[int, Path], Mapping[str, object]], seeds: Sequence[int], work: Path, jobs: int) -> list[dict]:
    """Return a study's result for each seed; each is saved as a JSON file, and not computed again in another run.

    Each seed is computed in its own process with one thread, so that the figures do not depend on the size of the machine.
    """
    work.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as executor:
        for line in executor.map(partial(_run_seed, study, work), seeds):
            print(line, flush=True)
    return [json.loads(_file(work, seed).read_text()) for seed in seeds]


def _run_seed(study: Callable[[int, Path], Mapping[str, object]], work: Path, seed: int) -> str:
    target = _file(work, seed)
    if target.is_file():
        return f"seed {seed}: computed before"
    started = time.perf_counter()
    result = {"seed": seed, **study(seed, work / f"seed-{seed}")}
    seconds = round(time.perf_counter() - started)
    temporary = target.with_suffix(".partial")
    temporary.write_text(json.dumps(result | {"seconds": seconds}))
    temporary.rename(target)
    return f"seed {seed}: {seconds} s"


def _file(work: Path, seed: int) -> Path:
    return work / f"seed-{seed}.json"


def mean_difference(pairs: Sequence[Pair], seed: int) -> tuple[float, list[float]]:
    """Return the mean difference in kappa over pairs of models that were scored on the same patients.

    Args:
        pairs: Sites with two models' predictions for their patients.
        seed: Of the bootstrap.

    Returns:
        The mean difference, and that of every resample of patients; pairs of one site share its resamples.
    """
    observed = [_kappa(first) - _kappa(second) for _, first, second in pairs]
    drawn = np.zeros(RESAMPLES)
    for site, first, second in pairs:
        cells = [metrics.cells(predictions) for predictions in (first, second)]
        draws = np.concatenate(list(bootstrap.draws(len(first.truth), RESAMPLES, derive_seed(seed, site))))
        drawn += metrics.kappas(draws @ cells[0]) - metrics.kappas(draws @ cells[1])
    return statistics.fmean(observed), (drawn / len(pairs)).tolist()


def kappa_interval(predictions: Predictions, site: str, seed: int) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a model's kappa, over a site's patients."""
    draws = np.concatenate(list(bootstrap.draws(len(predictions.truth), RESAMPLES, derive_seed(seed, site))))
    return interval(metrics.kappas(draws @ metrics.cells(predictions)).tolist())


def predictions(module: nn.Module, data: Path, plan: Plan) -> Predictions:
    """Return a network's predictions for a site's test patients."""
    test = samples(data, plan, Part.TEST)
    probabilities = inference.probabilities(module, test.images, device=CPU, progress=Silent())
    return Predictions(truth=test.labels, probabilities=probabilities, dense=()).by_unit(test.units)


def _kappa(predictions: Predictions) -> float:
    kappa = metrics.kappa(predictions.truth, predictions.predicted, predictions.num_classes)
    assert kappa is not None
    return kappa


def interval(drawn: Sequence[float]) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile."""
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def half_interval(values: Sequence[float]) -> float:
    """Return half the width of Student's 95 % interval of the mean of several values."""
    return float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / len(values) ** 0.5


def with_interval(values: Sequence[float], sign: str = "+") -> str:
    """Return the mean over seeds, with Student's 95 % interval if there are several; an empty sign writes no plus."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:{sign}.3f}"
    half = half_interval(values)
    return f"{mean:{sign}.3f} [{mean - half:{sign}.3f}, {mean + half:{sign}.3f}]"


def with_both_intervals(differences: Sequence[tuple[float, Sequence[float]]]) -> str:
    """Return the mean of differences over seeds, with its interval over patients, and over seeds if there are several."""
    low, high = interval(np.mean([drawn for _, drawn in differences], axis=0).tolist())
    return f"{with_interval([difference for difference, _ in differences])} (patients {low:+.3f} to {high:+.3f})"

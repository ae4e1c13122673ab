"""Shared by the studies of training: phantom hospitals, runs that resume after an interruption, paired differences of kappa."""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import numpy as np

from fedcli import plan as plans
from fedcli import wire
from fedcli.environment import Environment
from fedcli.errors import DataError
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.dataset import prepared_dataset
from fedcli.imaging.phantoms import hospitals
from fedcli.imaging.preparation import LabelFiles
from fedcli.learning.evaluation import bootstrap, metrics
from fedcli.learning.samples import Samples
from fedcli.learning.seeds import derive_seed
from fedcli.operations.prepare import PrepareRequest, prepare
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fedcli.learning.evaluation.metrics import Predictions
    from fedcli.plan import Part, Plan

RESAMPLES = 2000
STUDENT_T = {2: 4.303, 4: 2.776, 5: 2.571}
"""97.5 % quantiles by degrees of freedom."""
ENVIRONMENT = Environment(progress=Silent(), passphrase=str)

Pair = tuple[str, "Predictions", "Predictions"]
"""A site, and two models' predictions for its patients."""


def demo_plan() -> Plan:
    """Return the demonstration's plan."""
    with as_file(files("fedcli").joinpath("demo_plan.toml")) as path:
        return plans.load(path)


def prepared(
    folder: Path,
    plan: Plan,
    num_patients: int | None = None,
    hospitals_of: Sequence[hospitals.Hospital] = hospitals.DEMO_HOSPITALS,
) -> dict[str, Path]:
    """Return every hospital's prepared data; those of an earlier run are used again."""
    folders = {}
    for hospital in hospitals_of:
        out = folders[hospital.name] = folder / "prepared" / hospital.name
        try:
            prepared_dataset.load(out, wire.digest(plan.preparation), plan.allow_empty)
        except DataError:
            target = folder / "phantoms" / hospital.name
            hospital = replace(hospital, num_patients=num_patients or hospital.num_patients)  # noqa: PLW2901
            labels = hospitals.write(target, hospital, seed=plan.seed, classes=plan.classes, progress=Silent())
            archive, tables = ImageArchive(folder=target), LabelFiles(table=labels)
            prepare(PrepareRequest(archive=archive, labels=tables, workspace=folder / "none", plan=plan, out=out), Silent())
    return folders


def samples(folder: Path, plan: Plan, part: Part) -> Samples:
    """Return one part of prepared data."""
    data = prepared_dataset.load(folder, wire.digest(plan.preparation), plan.allow_empty)
    rows = data.rows(part)
    _, units = np.unique(np.array(data.patients[rows], dtype=str), return_inverse=True)
    return Samples(
        images=data.images[rows], labels=data.labels[rows], units=units.astype(np.int64), num_classes=len(plan.classes)
    )


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


def _kappa(predictions: Predictions) -> float:
    kappa = metrics.kappa(predictions.truth, predictions.predicted, predictions.num_classes)
    assert kappa is not None
    return kappa


def interval(drawn: Sequence[float]) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile."""
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def print_differences(title: str, observed: Sequence[float], drawn: Sequence[Sequence[float]]) -> None:
    """Print the differences of all seeds, each with its bootstrap interval, then their mean with both kinds of interval."""
    print(f"\n{title}\n\n| seed | difference | 95 % interval over patients |\n|---|---|---|")
    for number, (difference, resamples) in enumerate(zip(observed, drawn, strict=True), 1):
        low, high = interval(resamples)
        print(f"| {number} | {difference:+.3f} | {low:+.3f} to {high:+.3f} |")
    mean = statistics.fmean(observed)
    half = STUDENT_T[len(observed) - 1] * statistics.stdev(observed) / len(observed) ** 0.5
    low, high = interval(np.mean(np.array(drawn), axis=0).tolist())
    print(f"| mean | {mean:+.3f} | {low:+.3f} to {high:+.3f} |")
    print(
        f"\nOver seeds, Student's t with {len(observed) - 1} degrees: {mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}].",
        flush=True,
    )

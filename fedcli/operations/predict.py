"""Predict with a model of the federation: each case's probabilities and class, in a table that is not published.

Find the model and the record behind it → read the images, prepared or a folder of DICOM files → the mean probability over each
case's images → a CSV, and beside it a JSON file that says how it was made.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic.dataclasses import dataclass as checked_dataclass

from fedcli import wire
from fedcli.disk import write_whole
from fedcli.errors import UsageError
from fedcli.exchange.records import ModelReference, Versions
from fedcli.imaging.archive.image_archive import ImageArchive, PatientRule
from fedcli.imaging.dataset.prepared_dataset import DESCRIPTION
from fedcli.learning.evaluation import inference
from fedcli.learning.evaluation.metrics import mean_by_unit
from fedcli.party.party import Party
from fedcli.plan import Part, Unit
from fedcli.results import Result, Status
from fedcli.site.learner import Learner
from fedcli.site.model_lookup import BEST, find_model
from fedcli.site.prediction_input import SkippedFile, from_files, from_prepared
from fedcli.text.csv_text import csv_text
from fedcli.wire import STRICT, Digest, Timestamp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.environment import Environment
    from fedcli.plan import Plan
    from fedcli.site.prediction_input import PredictionInput

_PRIVATE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """What to predict, and with which model.

    Attributes:
        root: The workspace.
        images: Prepared data, or a folder of DICOM files; None takes the workspace's prepared data.
        out: The table to write; the JSON file beside it has the same name.
        model: Name of the model, see `model_lookup`.
        part: Whose patients (prepared data only).
        patient_pattern: Finds the patient in Patient ID (DICOM files only).
        workers: Worker processes (DICOM files only).
    """

    root: Path
    images: Path | None
    out: Path
    model: str = BEST
    part: Part = Part.TEST
    patient_pattern: str = ""
    workers: int = 1


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PredictionProvenance:
    """How a table of predictions was made.

    Attributes:
        schema: Name and version of this class.
        federation: SHA-256 of the federation's first record.
        coordinator: Fingerprint of its coordinator's key.
        plan: Digest of the plan, by whose settings the images were prepared.
        model: The model, and the record behind it.
        versions: Versions of the software.
        created: When, in UTC.
        data: Digest of the prepared data; null if DICOM files were read.
        part: Part of the prepared data; null likewise.
        unit: What a row of the table is.
        cases: Rows of the table.
        images: Images behind them.
        table_sha256: Digest of the table.
        left_out: Files below the folder that have no prediction.
    """

    schema: Literal["fedcli-predictions-1"] = "fedcli-predictions-1"
    federation: Digest
    coordinator: str
    plan: Digest
    model: ModelReference
    versions: Versions
    created: Timestamp
    data: Digest | None
    part: Part | None
    unit: Unit
    cases: int
    images: int
    table_sha256: Digest
    left_out: tuple[SkippedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictResult(Result):
    """A table that was written.

    Attributes:
        out: The table.
        provenance: The JSON file beside it.
        model: The model, and the record behind it.
        cases: Rows of the table.
        images: Images behind them.
        left_out: Files without a prediction.
        classes: The plan's classes.
        class_cases: Cases predicted of each.
    """

    out: str
    provenance: str
    model: ModelReference
    cases: int
    images: int
    left_out: int
    classes: tuple[str, ...]
    class_cases: tuple[int, ...]


def predict(request: PredictRequest, environment: Environment) -> PredictResult:
    """Write a table of predictions, and how it was made.

    Raises:
        UsageError: There is no such model, or the table cannot have this name.
        TrustError: The model does not belong to this federation.
        DataError: There are no images, or they were not prepared by this plan.
    """
    companion = request.out.with_suffix(".json")
    if companion == request.out:
        msg = f"{request.out}: the table's name must not end in .json, the ending of the file beside it"
        raise UsageError(msg)
    with Party.at_work(request.root, None, environment) as party, tempfile.TemporaryDirectory() as scratch:
        plan = party.plan
        learner = Learner(party.workspace, plan, environment.progress)
        path, model = find_model(party, request.model, learner.layout, Path(scratch))
        learner.load(path)
        party.folder.artifacts.forget()
        images = _images(request, party, plan, Path(scratch))
        label = f"{model.kind.word} model of {model.party}"
        probabilities = inference.probabilities(
            learner.module, images.pixels, device=learner.device, progress=environment.progress, label=label
        )
    names, positions = np.unique(np.array(images.cases, dtype=str), return_inverse=True)
    means = mean_by_unit(probabilities, positions.astype(np.int64))
    table = _table(plan, images, names.tolist(), means)
    provenance = _provenance(request, party, model, images, cases=len(names), table=table)
    write_whole(request.out, table, mode=_PRIVATE)
    write_whole(companion, wire.encode(provenance), mode=_PRIVATE)
    return _result(request.out, companion, provenance, plan, means)


def _images(request: PredictRequest, party: Party, plan: Plan, scratch: Path) -> PredictionInput:
    folder = request.images or party.workspace.prepared_path
    if request.images is None or (folder / DESCRIPTION).is_file():
        return from_prepared(folder, plan, request.part)
    rule = PatientRule(pattern=request.patient_pattern)
    archive = ImageArchive(folder=folder, patient_rule=rule, workers=request.workers)
    progress = party.environment.progress
    return from_files(archive, plan, secret=party.workspace.secret, scratch=scratch, progress=progress)


def _provenance(
    request: PredictRequest, party: Party, model: ModelReference, images: PredictionInput, *, cases: int, table: bytes
) -> PredictionProvenance:
    return PredictionProvenance(
        federation=party.ledger.identity,
        coordinator=party.workspace.settings.coordinator,
        plan=party.plan.digest,
        model=model,
        versions=party.versions(torch=True),
        created=party.environment.clock(),
        data=images.data,
        part=request.part if images.data else None,
        unit=party.plan.unit,
        cases=cases,
        images=len(images.pixels),
        table_sha256=wire.sha256(table),
        left_out=images.left_out,
    )


def _table(plan: Plan, images: PredictionInput, names: list[str], means: NDArray[np.float64]) -> bytes:
    """Return the CSV: one row per case, in the order of the pseudonyms; of equally probable classes the lower is predicted."""
    files: dict[str, list[str]] = {name: [] for name in names}
    counts = dict.fromkeys(names, 0)
    for number, name in enumerate(images.cases):
        counts[name] += 1
        files[name] += images.files[number : number + 1]
    last = ("files",) if images.files else ()
    lines: list[tuple[object, ...]] = [("case", "images", *(f"p({name})" for name in plan.classes), "predicted", *last)]
    for name, row in zip(names, means, strict=True):
        last = ("; ".join(files[name]),) if images.files else ()
        probabilities = (f"{value:.6f}" for value in row)
        lines.append((name, counts[name], *probabilities, plan.classes[int(np.argmax(row))], *last))
    return csv_text(lines).encode()


def _result(
    out: Path, companion: Path, provenance: PredictionProvenance, plan: Plan, means: NDArray[np.float64]
) -> PredictResult:
    model = provenance.model
    when = f"{'epoch' if model.kind in {'local', 'finetuned'} else 'round'} {model.round}"
    origin = f"by the {model.kind.word} model of {model.party}, {when}"
    left_out = f"; {len(provenance.left_out)} files left out, with the reason in {companion}" if provenance.left_out else ""
    return PredictResult(
        status=Status.DONE,
        message=f"{provenance.cases} cases, {provenance.images} images, {origin}: {out}{left_out}",
        out=str(out),
        provenance=str(companion),
        model=model,
        cases=provenance.cases,
        images=provenance.images,
        left_out=len(provenance.left_out),
        classes=plan.classes,
        class_cases=tuple(np.bincount(np.argmax(means, axis=1), minlength=len(plan.classes)).tolist()),
    )

"""What a model of the federation says about patients: probabilities and classes, in a table that stays where it is written.

Find the model and the record behind it → read the images, prepared or a folder of DICOM files → the mean probability over each
case's images → a CSV, and beside it a JSON file that says what made it.
"""

from __future__ import annotations

import csv
import io
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
from fedcli.learning.evaluation.units import mean_by_unit
from fedcli.party.party import Party
from fedcli.plan import Part, Unit
from fedcli.results import Result, Status
from fedcli.site import cases as caseload
from fedcli.site import lineage
from fedcli.site.cases import LeftOut
from fedcli.site.learner import Learner
from fedcli.wire import STRICT, Digest, Timestamp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.environment import Environment
    from fedcli.plan import Plan
    from fedcli.site.cases import Caseload

_PRIVATE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """What to predict, and with which model.

    Attributes:
        root: The workspace.
        source: Prepared data, or a folder of DICOM files; None takes the workspace's prepared data.
        out: The table to write; the JSON file beside it has the same name.
        model: Which model: see `lineage`.
        part: Of prepared data: whose patients.
        patient_pattern: Of DICOM files: finds the patient in Patient ID.
        workers: Of DICOM files: processes.
    """

    root: Path
    source: Path | None
    out: Path
    model: str = lineage.BEST
    part: Part = Part.TEST
    patient_pattern: str = ""
    workers: int = 1


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Provenance:
    """What made a table of predictions.

    Attributes:
        schema: Name and version of this class.
        federation: SHA-256 of the federation's first record.
        coordinator: Fingerprint of its coordinator's key.
        plan: Digest of the plan, by whose settings the images were prepared.
        model: The model, and the record behind it.
        versions: What computed.
        created: When, in UTC.
        data: Digest of the prepared data; null where DICOM files were read.
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
    left_out: tuple[LeftOut, ...]


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
    """Write a table of predictions, and what made it.

    Raises:
        UsageError: There is no such model, or the table cannot have this name.
        TrustError: The model is not of this federation.
        DataError: There are no images, or they were prepared otherwise than the plan says.
    """
    companion = request.out.with_suffix(".json")
    if companion == request.out:
        msg = f"{request.out}: the table's name must not end in .json, as the file beside it does"
        raise UsageError(msg)
    with Party.at_work(request.root, None, environment) as party, tempfile.TemporaryDirectory() as scratch:
        plan = party.plan
        learner = Learner(party.workspace, plan, environment.progress)
        path, model = lineage.find(party, request.model, learner.layout, Path(scratch))
        learner.load(path)
        party.folder.artifacts.forget()
        images = _images(request, party, plan, Path(scratch))
        label = f"{model.kind.word} model of {model.party}"
        found = inference.probabilities(
            learner.module, images.pixels, device=learner.device, progress=environment.progress, label=label
        )
    names, positions = np.unique(np.array(images.cases, dtype=str), return_inverse=True)
    means = mean_by_unit(found, positions.astype(np.int64))
    table = _table(plan, images, names.tolist(), means)
    said = _provenance(request, party, model, images, cases=len(names), table=table)
    write_whole(request.out, table, mode=_PRIVATE)
    write_whole(companion, wire.encode(said), mode=_PRIVATE)
    return _result(request.out, companion, said, plan, means)


def _images(request: PredictRequest, party: Party, plan: Plan, scratch: Path) -> Caseload:
    source = request.source or party.workspace.prepared_path
    if request.source is None or (source / DESCRIPTION).is_file():
        return caseload.of_prepared(source, plan, request.part)
    rule = PatientRule(pattern=request.patient_pattern)
    archive = ImageArchive(folder=source, patient_rule=rule, workers=request.workers)
    progress = party.environment.progress
    return caseload.of_files(archive, plan, secret=party.workspace.secret, scratch=scratch, progress=progress)


def _provenance(
    request: PredictRequest, party: Party, model: ModelReference, images: Caseload, *, cases: int, table: bytes
) -> Provenance:
    return Provenance(
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


def _table(plan: Plan, images: Caseload, names: list[str], means: NDArray[np.float64]) -> bytes:
    """Return the CSV: a row a case, in the order of the pseudonyms; of equally probable classes the lower is predicted."""
    files: dict[str, list[str]] = {name: [] for name in names}
    counts = dict.fromkeys(names, 0)
    for number, name in enumerate(images.cases):
        counts[name] += 1
        files[name] += images.files[number : number + 1]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    also = ("files",) if images.files else ()
    writer.writerow(("case", "images", *(f"p({name})" for name in plan.classes), "predicted", *also))
    for name, row in zip(names, means, strict=True):
        found = ("; ".join(files[name]),) if images.files else ()
        shown = (f"{value:.6f}" for value in row)
        writer.writerow((name, counts[name], *shown, plan.classes[int(np.argmax(row))], *found))
    return text.getvalue().encode("utf-8", "surrogateescape")


def _result(out: Path, companion: Path, said: Provenance, plan: Plan, means: NDArray[np.float64]) -> PredictResult:
    model = said.model
    when = f"{'epoch' if model.kind in {'local', 'finetuned'} else 'round'} {model.round}"
    by = f"the {model.kind.word} model of {model.party}"
    left_out = f"; {len(said.left_out)} files left out, with the reason in {companion}" if said.left_out else ""
    return PredictResult(
        status=Status.DONE,
        message=f"{said.cases} cases, {said.images} images, by {by}, {when}: {out}{left_out}",
        out=str(out),
        provenance=str(companion),
        model=model,
        cases=said.cases,
        images=said.images,
        left_out=len(said.left_out),
        classes=plan.classes,
        class_cases=tuple(np.bincount(np.argmax(means, axis=1), minlength=len(plan.classes)).tolist()),
    )

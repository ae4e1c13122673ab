"""Predict with a model of the federation: each case's probabilities and class, in a table that is not published.

Find the model and the record behind it → read the images, prepared or a folder of DICOM files → the mean probability over each
case's images → a CSV, and beside it a page with images of the most uncertain cases, and a JSON file that says how it was made.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass as checked_dataclass

from fedcli import wire
from fedcli.disk import write_whole
from fedcli.errors import UsageError
from fedcli.exchange.records import ModelReference, Versions
from fedcli.imaging.archive.image_archive import ImageArchive, PatientRule
from fedcli.imaging.dataset.prepared_dataset import DESCRIPTION
from fedcli.learning.evaluation import inference
from fedcli.party.party import Party
from fedcli.plan import Part, Unit
from fedcli.privacy.keyring import scratch_of
from fedcli.reporting.case_predictions import LeftOutImage, prediction_table
from fedcli.reporting.prediction_page import PredictionPage
from fedcli.results import Result, Status
from fedcli.site.learner import Learner
from fedcli.site.model_lookup import BEST, find_model
from fedcli.site.prediction_input import SkippedFile, from_files, from_prepared
from fedcli.text.wording import counted
from fedcli.wire import STRICT, Digest, Timestamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedcli.environment import Environment
    from fedcli.plan import Plan
    from fedcli.reporting.case_predictions import PredictionTable
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
        lead: A case whose most probable class is ahead of the next one by less is uncertain.
    """

    root: Path
    images: Path | None
    out: Path
    model: str = BEST
    part: Part = Part.TEST
    patient_pattern: str = ""
    workers: int = 1
    lead: float = 0.2


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
        cases: Rows of the table that have a prediction.
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
        cases: Rows of the table that have a prediction.
        images: Images behind them.
        left_out: Files without a prediction.
        classes: The plan's classes.
        class_cases: Cases predicted of each.
        page: The HTML page beside the table.
        uncertain: Cases whose prediction is uncertain.
        unpredicted: Cases without a prediction, because all their files were left out.
    """

    out: str
    provenance: str
    model: ModelReference
    cases: int
    images: int
    left_out: int
    classes: tuple[str, ...]
    class_cases: tuple[int, ...]
    page: str
    uncertain: int
    unpredicted: int


def predict(request: PredictRequest, environment: Environment) -> PredictResult:
    """Write a table of predictions, and how it was made.

    Raises:
        UsageError: There is no such model, or the table cannot have this name.
        TrustError: The model does not belong to this federation.
        DataError: There are no images, or they were not prepared by this plan.
    """
    companion, page = request.out.with_suffix(".json"), request.out.with_suffix(".html")
    if request.out in {companion, page}:
        msg = f"{request.out}: the table's name must not end in .json or .html, the endings of the files beside it"
        raise UsageError(msg)
    with (
        Party.at_work(request.root, None, environment) as party,
        tempfile.TemporaryDirectory(prefix="fedcli-predict-", dir=scratch_of(party.keyring)) as scratch,
    ):
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
        table = _table(request, plan, images, probabilities)
        provenance = _provenance(request, party, model, images, table)
        write_whole(request.out, table.text().encode(), mode=_PRIVATE)
        write_whole(page, _page(table, plan, provenance, images, companion.name).encode(), mode=_PRIVATE)
        write_whole(companion, wire.encode(provenance), mode=_PRIVATE)
    return _result(request.out, provenance, table)


def _table(request: PredictRequest, plan: Plan, images: PredictionInput, probabilities: NDArray[np.float64]) -> PredictionTable:
    return prediction_table(
        plan.classes,
        request.lead,
        images.cases,
        probabilities,
        files=images.files,
        patients=images.patients,
        left_out={case: tuple(map(_left_out, files)) for case, files in images.left_out_of.items()},
    )


def _page(table: PredictionTable, plan: Plan, provenance: PredictionProvenance, images: PredictionInput, companion: str) -> str:
    return PredictionPage(
        table=table,
        model=_model_in_words(provenance.model),
        plan=plan.name,
        unit=plan.unit.value,
        created=provenance.created,
        left_out=tuple(map(_left_out, images.left_out)),
        pixels=images.pixels,
        titles=images.titles,
        companion=companion,
    ).render()


def _left_out(item: SkippedFile) -> LeftOutImage:
    return LeftOutImage(file=item.file, reason=item.reason.value)


def _images(request: PredictRequest, party: Party, plan: Plan, scratch: Path) -> PredictionInput:
    folder = request.images or party.workspace.prepared_path
    if request.images is None or (folder / DESCRIPTION).is_file():
        return from_prepared(folder, plan, request.part)
    rule = PatientRule(pattern=request.patient_pattern)
    archive = ImageArchive(folder=folder, patient_rule=rule, workers=request.workers)
    progress = party.environment.progress
    return from_files(archive, plan, secret=party.workspace.secret, scratch=scratch, progress=progress)


def _provenance(
    request: PredictRequest, party: Party, model: ModelReference, images: PredictionInput, table: PredictionTable
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
        cases=len(table.predicted),
        images=len(images.pixels),
        table_sha256=wire.sha256(table.text().encode()),
        left_out=images.left_out,
    )


def _model_in_words(model: ModelReference) -> str:
    when = f"{'epoch' if model.kind in {'local', 'finetuned'} else 'round'} {model.round}"
    return f"{model.kind.word} model of {model.party}, {when}"


def _result(out: Path, provenance: PredictionProvenance, table: PredictionTable) -> PredictResult:
    companion, page = out.with_suffix(".json"), out.with_suffix(".html")
    message = f"{provenance.cases} cases, {provenance.images} images, by the {_model_in_words(provenance.model)}: {out}"
    if provenance.left_out:
        message += f"; {len(provenance.left_out)} files left out, with the reason in {companion}"
    if table.unpredicted:
        message += f"; {counted(len(table.unpredicted), 'case')} without a prediction"
    message += f"; {table.num_uncertain} uncertain, look at {page}"
    return PredictResult(
        status=Status.DONE,
        message=message,
        out=str(out),
        provenance=str(companion),
        model=provenance.model,
        cases=provenance.cases,
        images=provenance.images,
        left_out=len(provenance.left_out),
        classes=table.classes,
        class_cases=table.class_cases(),
        page=str(page),
        uncertain=table.num_uncertain,
        unpredicted=len(table.unpredicted),
    )

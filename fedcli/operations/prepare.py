"""Prepare an archive by the plan's settings: the first thing a site runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcli import plan as plans
from fedcli.errors import UsageError
from fedcli.imaging import archive as archives
from fedcli.imaging.dataset import REJECTS
from fedcli.imaging.labels import LabelColumns
from fedcli.operations.party import Status
from fedcli.private_files import exclusive, read_secret
from fedcli.workspace import SETTINGS, Workspace, WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.cohort import Cohort
    from fedcli.plan import Plan
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest:
    """What to prepare, and how.

    Attributes:
        archive: The folder of DICOM files.
        labels: The CSV with the classes.
        plan: The plan, or its file; None takes the workspace's approved one.
        out: Where to; None takes the workspace's prepared data.
        workspace: The site's workspace, if there is one: its secret keys the hashes of patients.
        patient_pattern: Finds the patient in Patient ID.
        split: CSV with the part of each patient; None splits by the plan's fractions.
        columns: Names of the label table's columns.
        workers: Processes; 0 takes one a processor.
    """

    archive: Path
    labels: Path
    workspace: Path
    plan: Plan | Path | None = None
    out: Path | None = None
    patient_pattern: str = ""
    split: Path | None = None
    columns: LabelColumns = field(default_factory=LabelColumns)
    workers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareResult:
    """A prepared data set.

    Attributes:
        files: Files in the archive.
        images: Images in the data set.
        patients: Patients in the data set.
        digest: Identifies the prepared data.
        cohort: The paper's Table 1 row, Fig. 3 and Fig. 4.
        rejected: Files left out.
        label_problems: Rows of the label table without effect.
    """

    status: Status
    message: str
    out: str
    files: int
    images: int
    patients: int
    digest: str
    cohort: Cohort
    classes: tuple[str, ...]
    rejected: int
    label_problems: int


def prepare(request: PrepareRequest, progress: Progress) -> PrepareResult:
    """Prepare an archive, whole or not at all.

    Raises:
        UsageError: Neither a plan nor a workspace was named.
        ConfigurationError: The plan is wrong.
        DataError: The archive or the label table cannot be used.
        BusyError: Another process prepares the same data.
    """
    plan, out, secret = _settings(request)
    with exclusive(out.with_name(f".{out.name}.lock")):
        summary = archives.prepare(
            archives.Request(
                archive=request.archive,
                labels=request.labels,
                preparation=plan.preparation,
                out=out,
                secret=secret,
                workers=request.workers or os.cpu_count() or 1,
                patient_pattern=request.patient_pattern,
                split=request.split,
                columns=request.columns,
            ),
            progress=progress,
        )
    files = f"{len(summary.rejects)} {'file' if len(summary.rejects) == 1 else 'files'}"
    left_out = f"; {files} left out, with the reason in {out / REJECTS}" if summary.rejects else ""
    return PrepareResult(
        status=Status.DONE,
        message=f"{summary.images} images of {summary.patients} patients from {summary.files} files are in {out}{left_out}",
        out=str(out),
        files=summary.files,
        images=summary.images,
        patients=summary.patients,
        digest=summary.digest,
        cohort=summary.cohort,
        classes=plan.classes,
        rejected=len(summary.rejects),
        label_problems=len(summary.label_problems),
    )


def _settings(request: PrepareRequest) -> tuple[Plan, Path, bytes]:
    """Return the plan, where to write, and the secret: from the workspace where none is named."""
    workspace = None
    if (request.workspace / SETTINGS).is_file():
        workspace = Workspace.open(request.workspace, WorkspaceRole.SITE)
    if isinstance(request.plan, plans.Plan):
        plan = request.plan
    elif request.plan is not None:
        plan = plans.load(request.plan)
    elif workspace is not None and workspace.approval is not None:
        plan = workspace.approval.plan
    else:
        msg = "prepare needs a plan: --plan FILE, or a workspace whose plan is approved"
        raise UsageError(msg, hint="fedcli join makes a workspace; -C names it")
    if request.out is not None:
        out = request.out
    elif workspace is not None:
        out = workspace.prepared_path
    else:
        msg = "prepare needs to know where to write: --out DIR, or a workspace"
        raise UsageError(msg)
    secret = workspace.secret if workspace is not None else read_secret(out.with_name(f"{out.name}.secret"))
    return plan, out, secret

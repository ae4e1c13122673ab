"""Prepare an archive by the plan's settings: the first thing a site runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcli import plan as plans
from fedcli.disk import write_whole
from fedcli.errors import UsageError
from fedcli.imaging import preparation as archives
from fedcli.imaging.dataset.dataset import PAGE, REJECTS
from fedcli.imaging.labels.columns import LabelColumns
from fedcli.imaging.labels.matching import fault_counts
from fedcli.private_files import SECRET_BYTES, exclusive, read_secret
from fedcli.results import Result, Status
from fedcli.workspace import SETTINGS, Workspace, WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.cohort import Cohort
    from fedcli.imaging.labels.columns import Key
    from fedcli.imaging.labels.matching import FaultCount
    from fedcli.plan import Plan, Preparation
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
        cluster: Address of a Dask scheduler, whose workers read the files instead.
        limit: The largest number of files, for a first try; the data are then written beside those to train on. 0 takes all.
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
    cluster: str = ""
    limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareResult(Result):
    """A prepared data set.

    Attributes:
        files: Files in the archive.
        images: Images in the data set.
        patients: Patients in the data set.
        digest: Identifies the prepared data.
        cohort: The paper's Table 1 row, Fig. 3 and Fig. 4.
        rejected: Files left out.
        label_key: What the label table is keyed by.
        label_column: The name of that column.
        label_problems: Rows of the label table without effect.
        label_faults: The same, by what is wrong with them.
        page: All this to look at, with examples of the images, for the site's eyes only.
        warnings: What a person should look at: scanners whose images seem to be inverted.
    """

    out: str
    files: int
    images: int
    patients: int
    digest: str
    cohort: Cohort
    classes: tuple[str, ...]
    rejected: int
    label_key: Key
    label_column: str
    label_problems: int
    label_faults: tuple[FaultCount, ...]
    page: str
    warnings: tuple[str, ...]


def prepare(request: PrepareRequest, progress: Progress) -> PrepareResult:
    """Prepare an archive, whole or not at all.

    Raises:
        UsageError: Neither a plan nor a workspace was named.
        ConfigurationError: The plan is wrong.
        DataError: The archive or the label table cannot be used.
        BusyError: Another process prepares the same data.
    """
    whole = request_of(request)
    out, preparation = whole.out, whole.preparation
    with exclusive(out.with_name(f".{out.name}.lock")):
        summary = archives.prepare(whole, progress=progress)
        _write_page(out / PAGE, summary, preparation)
    files = f"{len(summary.rejects)} {'file' if len(summary.rejects) == 1 else 'files'}"
    left_out = f"; {files} left out, with the reason in {out / REJECTS}" if summary.rejects else ""
    return PrepareResult(
        status=Status.DONE,
        message=(
            f"{summary.images} images of {summary.patients} patients from {summary.files} files are in {out}{left_out}; "
            f"look at {out / PAGE}"
        ),
        out=str(out),
        files=summary.files,
        images=summary.images,
        patients=summary.patients,
        digest=summary.digest,
        cohort=summary.cohort,
        classes=preparation.classes,
        rejected=len(summary.rejects),
        label_key=summary.label_key,
        label_column=summary.label_column,
        label_problems=len(summary.label_problems),
        label_faults=fault_counts(summary.label_problems),
        page=str(out / PAGE),
        warnings=tuple(scanner.warning for scanner in summary.scanners if scanner.warning),
    )


def request_of(request: PrepareRequest, *, writes: bool = True) -> archives.Request:
    """Return what to prepare, with what the request leaves to the workspace.

    Args:
        request: What the user asked for.
        writes: Whether anything will be written, so that a secret is needed.

    Raises:
        UsageError: Neither a plan nor a workspace was named.
        ConfigurationError: The plan is wrong.
    """
    plan, out, workspace = _settings(request)
    if not writes:
        secret = bytes(SECRET_BYTES)
    else:
        secret = workspace.secret if workspace else read_secret(out.with_name(f"{out.name}.secret"))
    return archives.Request(
        archive=request.archive,
        labels=request.labels,
        preparation=plan.preparation,
        out=out,
        secret=secret,
        workers=request.workers or len(os.sched_getaffinity(0)),
        patient_pattern=request.patient_pattern,
        split=request.split,
        columns=request.columns,
        cluster=request.cluster,
        limit=request.limit,
    )


def _write_page(path: Path, summary: archives.Summary, preparation: Preparation) -> None:
    from fedcli.reporting import dataset_page  # noqa: PLC0415 - matplotlib is needed at the end alone

    prepared = dataset_page.PreparedData(
        digest=summary.digest,
        files=summary.files,
        cohort=summary.cohort,
        preparation=preparation,
        scanners=summary.scanners,
        label_key=summary.label_key,
        label_column=summary.label_column,
        faults=fault_counts(summary.label_problems),
    )
    write_whole(path, dataset_page.render(prepared).encode(), mode=0o600)


def _settings(request: PrepareRequest) -> tuple[Plan, Path, Workspace | None]:
    """Return the plan and where to write, from the workspace where none is named, and the workspace, if there is one."""
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
        if request.limit:  # never where training looks
            out = out.with_name(f"{out.name}-try")
    else:
        msg = "prepare needs to know where to write: --out DIR, or a workspace"
        raise UsageError(msg)
    return plan, out, workspace

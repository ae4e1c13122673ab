"""Prepare an archive by the plan's settings, or check first what would come out: the first thing a site runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedcli import plan as plans
from fedcli.disclosure.small_sites import advice_on_data
from fedcli.disk import write_whole
from fedcli.errors import DataError, UsageError
from fedcli.imaging import preparation, preview
from fedcli.imaging.dataset.index import Pseudonyms
from fedcli.imaging.dataset.prepared_dataset import IDENTITIES, PAGE, REJECTS
from fedcli.imaging.labels import csv_file
from fedcli.imaging.preparation import DatasetRequest
from fedcli.party.command_lines import WORKSPACE, party_command
from fedcli.private_files import exclusive, read_secret
from fedcli.results import Result, Status
from fedcli.site import training_log
from fedcli.site.withdrawals import Withdrawal, read_withdrawals, write_withdrawals
from fedcli.text.wording import counted, duration, number_ranges
from fedcli.workspace import SETTINGS, Workspace, WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.cohort import Cohort
    from fedcli.imaging.archive.image_archive import ImageArchive
    from fedcli.imaging.labels.columns import LabelKey
    from fedcli.imaging.labels.matching import FaultCount
    from fedcli.imaging.preparation import LabelFiles, PreparationSummary
    from fedcli.imaging.preview import Preview
    from fedcli.plan import Plan
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest:
    """What to prepare, and how.

    Attributes:
        archive: The archive and how it is read; with a limit, the data are written beside those for training.
        labels: Its label table and split list.
        workspace: The site's workspace, if there is one: its secret keys the hashes of patients.
        plan: The plan, or its file; None uses the workspace's approved one.
        out: The folder to write; None uses the workspace's prepared data.
        exclude: CSV of patients that withdraw; the workspace keeps their hashes, and leaves them out from now on.
    """

    archive: ImageArchive
    labels: LabelFiles
    workspace: Path
    plan: Plan | Path | None = None
    out: Path | None = None
    exclude: Path | None = None


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
        label_faults: The same, by fault.
        label_remarks: What else identifies images, and why rows and images that look alike do not match.
        page: An HTML page with all this and examples of the images, for the site's eyes only.
        warnings: Scanners whose images seem to be inverted.
        advice: What a site of this size should know before it trains.
        withdrawn: Patients that have withdrawn now.
        withdrawn_rounds: Rounds whose update was trained with one of them.
        withdrawal: A CSV of these patients and their rounds, for the site's eyes only; null if none withdraws.
    """

    out: str
    files: int
    images: int
    patients: int
    digest: str
    cohort: Cohort
    classes: tuple[str, ...]
    rejected: int
    label_key: LabelKey
    label_column: str
    label_problems: int
    label_faults: tuple[FaultCount, ...]
    label_remarks: tuple[str, ...]
    page: str
    warnings: tuple[str, ...]
    advice: tuple[str, ...] = ()
    withdrawn: int = 0
    withdrawn_rounds: tuple[int, ...] = ()
    withdrawal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult(Result):
    """What an archive contains; nothing was written."""

    classes: tuple[str, ...]
    workers: int
    preview: Preview


def prepare(request: PrepareRequest, progress: Progress) -> PrepareResult:
    """Prepare an archive completely, or write nothing.

    Raises:
        UsageError: Neither a plan nor a workspace was named.
        ConfigurationError: The plan is wrong.
        DataError: The archive or the label table cannot be used.
        BusyError: Another process prepares the same data.

    Patients that have withdrawn in this workspace are left out.
    """
    workspace = _workspace(request)
    dataset = _dataset(request, workspace)
    out = dataset.out
    pseudonyms = Pseudonyms(secret=workspace.secret if workspace else read_secret(out.with_name(f"{out.name}.secret")))
    with exclusive(out.with_name(f".{out.name}.lock")):
        if workspace is not None:
            training_log.note_earlier_rounds(workspace)
        withdrawals = _withdrawals(request, workspace, pseudonyms)
        before = _prepared_patients(out) if withdrawals else frozenset[str]()
        if workspace is not None:
            withdrawn = training_log.withdraw_patients(workspace, [item.hash for item in withdrawals])
            trained = frozenset(training_log.rounds_by_patient(workspace))
            dataset = replace(dataset, withdrawn=withdrawn, trained=trained)
        summary = preparation.prepare(dataset, pseudonyms=pseudonyms, progress=progress)
        from fedcli.reporting import dataset_page  # noqa: PLC0415 - matplotlib is needed only now

        write_whole(out / PAGE, dataset_page.render(summary).encode(), mode=0o600)
    result = _result(summary, out, advice_on_data(_plan(request, workspace), summary.cohort))
    return _with_withdrawals(result, workspace, withdrawals, before) if workspace is not None and withdrawals else result


def _prepared_patients(out: Path) -> frozenset[str]:
    """Return the hashes of the patients in the data that were prepared before; none if there are no such data."""
    try:
        table = csv_file.read(out / IDENTITIES)
    except DataError:
        return frozenset()
    column = table.column("patient_hash")
    return frozenset(row.cells[column] for row in table.rows) if column is not None else frozenset()


def _withdrawals(request: PrepareRequest, workspace: Workspace | None, pseudonyms: Pseudonyms) -> tuple[Withdrawal, ...]:
    if request.exclude is None:
        return ()
    if workspace is None:
        msg = "--exclude needs a workspace, which remembers who has withdrawn"
        raise UsageError(msg, hint="-C names it")
    return read_withdrawals(request.exclude, workspace, pseudonyms)


def _with_withdrawals(
    result: PrepareResult, workspace: Workspace, withdrawals: tuple[Withdrawal, ...], before: frozenset[str]
) -> PrepareResult:
    """Write the list of who withdraws for the site's eyes only; the result has no identifier.

    Args:
        result: What was prepared.
        workspace: The site's.
        withdrawals: Who withdraws now.
        before: The patients of the data that were prepared before.
    """
    path = write_withdrawals(workspace, withdrawals)
    rounds = tuple(sorted({number for item in withdrawals for number in item.rounds}))
    message = f"{counted(len(withdrawals), 'patient')} withdrawn, listed in {path}; "
    unknown = sum(1 for item in withdrawals if not item.rounds and item.hash not in before)
    if before and unknown:
        message += (
            f"{unknown} of them in no round and not in the data prepared before: "
            f"compare their identifiers with those in {IDENTITIES}; "
        )
    if rounds:
        command = party_command(WORKSPACE, "restart", "--from", str(rounds[0] - 1), "--reason", "TEXT")
        message += f"trained in rounds {number_ranges(rounds)}, which the coordinator can leave behind: `{command}`; "
    else:
        message += "no update was trained with them; "
    return replace(
        result,
        message=message + result.message,
        withdrawn=len(withdrawals),
        withdrawn_rounds=rounds,
        withdrawal=str(path),
    )


def check(request: PrepareRequest, progress: Progress) -> CheckResult:
    """Examine an archive: what joins with the labels, what would be left out, how long preparing would take.

    Raises:
        UsageError: Neither a plan nor a workspace was named.
        ConfigurationError: The plan is wrong.
        DataError: The archive or the label table cannot be used.
    """
    dataset = _dataset(request, _workspace(request))
    workers = dataset.archive.num_processes
    seen = preview.preview(dataset, progress=progress)
    left_out = sum(files for _, files in seen.rejections)
    message = (
        f"{seen.images} images of {seen.patients} patients with a label in {seen.files} files; "
        f"{left_out} would be left out; decoding takes about {duration(max(1.0, seen.seconds))} "
        f"in {workers} processes, plus the time to read the files"
    )
    if not seen.images:
        message += "; prepare would stop, because no image is left"
    return CheckResult(status=Status.DONE, message=message, classes=dataset.preparation.classes, workers=workers, preview=seen)


def _workspace(request: PrepareRequest) -> Workspace | None:
    if (request.workspace / SETTINGS).is_file():
        return Workspace.open(request.workspace, WorkspaceRole.SITE)
    return None


def _plan(request: PrepareRequest, workspace: Workspace | None) -> plans.Plan:
    """Return the plan that the request names, or else the workspace's."""
    if isinstance(request.plan, plans.Plan):
        return request.plan
    if request.plan is not None:
        return plans.load(request.plan)
    if workspace is not None and workspace.approval is not None:
        return workspace.approval.plan
    msg = "prepare needs a plan: --plan FILE, or a workspace whose plan is approved"
    raise UsageError(msg, hint="fedcli join creates a workspace; -C names it")


def _dataset(request: PrepareRequest, workspace: Workspace | None) -> DatasetRequest:
    """Return which data set to make; the folder is the workspace's if the request names none."""
    plan = _plan(request, workspace)
    out = request.out
    if out is None:
        if workspace is None:
            msg = "prepare needs a folder to write: --out DIR, or a workspace"
            raise UsageError(msg)
        out = workspace.prepared_path
        if request.archive.limit:  # never where training looks
            out = out.with_name(f"{out.name}-try")
    tester = workspace is not None and workspace.settings.tester
    return DatasetRequest(archive=request.archive, labels=request.labels, preparation=plan.preparation, out=out, test_only=tester)


def _result(summary: PreparationSummary, out: Path, advice: tuple[str, ...]) -> PrepareResult:
    files = f"{len(summary.rejected)} {'file' if len(summary.rejected) == 1 else 'files'}"
    left_out = f"; {files} left out, with the reason in {out / REJECTS}" if summary.rejected else ""
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
        classes=summary.preparation.classes,
        rejected=len(summary.rejected),
        label_key=summary.label_key,
        label_column=summary.label_column,
        label_problems=len(summary.label_problems),
        label_faults=summary.label_faults,
        label_remarks=summary.label_remarks,
        page=str(out / PAGE),
        warnings=tuple(warning for scanner in summary.scanners for warning in scanner.warnings),
        advice=advice,
    )

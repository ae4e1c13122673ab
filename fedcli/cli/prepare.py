"""The command prepare, with --check first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from fedcli.cli import render
from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption
from fedcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.imaging.labels.columns import LabelColumns
    from fedcli.imaging.labels.matching import FaultCount
    from fedcli.operations.prepare import CheckResult, PrepareRequest, PrepareResult

EXAMPLE = "Example: fedcli prepare /archive --labels labels.csv -C north"
_DECADES = 5
"""The histogram counts thousandths of a per cent of all pixels."""

ArchiveArgument = Annotated[
    Path, typer.Argument(help="A folder of DICOM files or pictures, with all below it, or a zip archive.")
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT=NAME", help="A label table column: patient, study, accession, instance, file, side, view, date or label."
    ),
]
PatternOption = Annotated[
    str, typer.Option(help="Regular expression whose group is the patient, for a Patient ID that differs per image.")
]


def prepare(
    archive: ArchiveArgument,
    labels: Annotated[Path, typer.Option(help="CSV with the class of patients, studies, accessions, instances or files.")],
    plan: Annotated[Path | None, typer.Option(help="The plan; default: the workspace's approved plan.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write; default: the workspace's prepared data.")] = None,
    workspace: WorkspaceOption = Path(),
    patient_pattern: PatternOption = "",
    split: Annotated[Path | None, typer.Option(help="CSV of patient and part, instead of the plan's fractions.")] = None,
    column: ColumnOption = None,
    exclude: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV with a column patient: they withdraw, and are left out from now on.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes; 0 means one per processor.")] = 0,
    cluster: Annotated[str, typer.Option(metavar="ADDRESS", help="A Dask scheduler whose workers read the files.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Read headers only, and report what would be prepared.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Try this many files, into a separate folder; 0 means all.")] = 0,
    json: JsonOption = False,
) -> None:
    """Turn a mammography archive and a label table into training data; every file left out is listed with its reason."""

    def request() -> PrepareRequest:
        from fedcli.imaging.archive.image_archive import ImageArchive, PatientRule
        from fedcli.imaging.preparation import LabelFiles
        from fedcli.operations.prepare import PrepareRequest

        rule = PatientRule(pattern=patient_pattern)
        source = ImageArchive(folder=archive, patient_rule=rule, workers=workers, cluster=cluster, limit=limit)
        tables = LabelFiles(table=labels, columns=label_columns(column or []), split=split)
        return PrepareRequest(archive=source, labels=tables, workspace=workspace, plan=plan, out=out, exclude=exclude)

    def work(environment: Environment) -> PrepareResult:
        from fedcli.operations.prepare import prepare as operation

        return operation(request(), environment.progress)

    def examine(environment: Environment) -> CheckResult:
        from fedcli.operations.prepare import check as operation

        return operation(request(), environment.progress)

    invocation = Invocation(command="prepare", as_json=json, root=workspace)
    if check:
        invocation.run(examine, show_check)
    else:
        invocation.run(work, show_prepared)


def label_columns(values: list[str]) -> LabelColumns:
    """Return options of the form WHAT=NAME as the names of a label table's columns.

    Raises:
        UsageError: A value has another form.
    """
    from dataclasses import fields

    from fedcli.imaging.labels.columns import LabelColumns

    known = [item.name for item in fields(LabelColumns)]
    columns: dict[str, str] = {}
    for value in values:
        what, separator, name = value.partition("=")
        if what not in known or not separator or not name:
            msg = f"--column {value}: expected one of {', '.join(known)}, then = and the column's name"
            raise UsageError(msg)
        columns[what] = name
    return LabelColumns(**columns)


def show_check(out: Console, result: CheckResult) -> None:
    """Print what an archive contains, and what would be left out."""
    preview = result.preview
    render.print_table(out, "Images by class", result.classes, [tuple(map(str, preview.class_images))])
    syntaxes = [(item.title, str(item.files), f"{item.megapixels:.0f}", f"{item.seconds:.0f}") for item in preview.syntaxes]
    render.print_table(out, "Transfer syntaxes", ("syntax", "files", "megapixels", "processor seconds"), syntaxes)
    _show_left_out(out, "Would be left out", preview.rejections, preview.label_faults, preview.label_remarks)


def show_prepared(out: Console, result: PrepareResult) -> None:
    """Print the Table 1 row, the class shares, and what was left out."""
    cohort = result.cohort
    low, high = cohort.megapixels
    facts = [
        ("resolution", f"{low:g} to {high:g} MP"),
        ("detector", ", ".join(cohort.detectors) or "not stated"),
        ("image type", ", ".join(cohort.image_types)),
        ("bits", ", ".join(map(str, cohort.bits))),
    ]
    render.print_table(out, f"Data set in {result.out}", ("what", "value"), facts)
    rows = [
        (
            count.part.value,
            str(count.patients),
            str(count.images),
            *map(str, count.class_images),
            render.bars([images or 0 for images in count.class_images]),
        )
        for count in cohort.parts
    ]
    render.print_table(out, "Images by class (Fig. 3)", ("part", "patients", "images", *result.classes, ""), rows)
    pairs = [low + high for low, high in zip(cohort.histogram[::2], cohort.histogram[1::2], strict=True)]
    intensities = [("0 to 1, logarithmic", render.bars(pairs, decades=_DECADES))]
    render.print_table(out, "Pixels by intensity (Fig. 4)", ("intensity", "pixels"), intensities)
    rejections = [(item.reason, item.files) for item in cohort.rejections]
    _show_left_out(out, "Left out", rejections, result.label_faults, result.label_remarks)
    for warning in result.warnings:
        out.print(f"[bold red]{escape(warning)}[/] Look at {escape(result.page)}", highlight=False, soft_wrap=True)
    for sentence in result.advice:
        render.print_line(out, f"! {sentence}", style="yellow")


def _show_left_out(
    out: Console, title: str, counts: Sequence[tuple[str, int]], faults: Sequence[FaultCount], remarks: Sequence[str]
) -> None:
    if counts:
        render.print_table(out, title, ("reason", "files"), [(reason, str(files)) for reason, files in counts])
    if faults:
        rows = [(item.fault, str(item.rows)) for item in faults]
        render.print_table(out, "Rows of the label table without effect", ("what is wrong", "rows"), rows)
    for remark in remarks:
        render.print_line(out, f"· labels: {remark}")

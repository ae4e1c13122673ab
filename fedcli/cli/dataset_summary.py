"""Prepared data on the command line: the label table's columns in, the paper's Table 1 row out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from fedcli.cli import render
from fedcli.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.imaging.labels.columns import LabelColumns
    from fedcli.operations.prepare import PrepareResult
    from fedcli.operations.prepare_check import PreviewResult

_DECADES = 5
"""The histogram counts thousandths of a per cent of all pixels."""


def label_columns(values: list[str]) -> LabelColumns:
    """Return options of the form WHAT=NAME as the names of a label table's columns.

    Raises:
        UsageError: A value has another form.
    """
    from dataclasses import fields

    from fedcli.imaging.labels.columns import LabelColumns

    known = [item.name for item in fields(LabelColumns)]
    found: dict[str, str] = {}
    for value in values:
        what, separator, name = value.partition("=")
        if what not in known or not separator or not name:
            msg = f"--column {value}: expected one of {', '.join(known)}, then = and the column's name"
            raise UsageError(msg)
        found[what] = name
    return LabelColumns(**found)


def show_preview(out: Console, result: PreviewResult) -> None:
    """Print what an archive holds, and what would be left out."""
    found = result.preview
    render.print_table(out, "Images by class", result.classes, [tuple(map(str, found.class_images))])
    syntaxes = [(item.title, str(item.files), f"{item.megapixels:.0f}", f"{item.seconds:.0f}") for item in found.syntaxes]
    render.print_table(out, "Transfer syntaxes", ("syntax", "files", "megapixels", "processor seconds"), syntaxes)
    if found.rejections:
        render.print_table(out, "Would be left out", ("reason", "files"), [(why, str(files)) for why, files in found.rejections])
    if found.label_faults:
        faults = [(item.fault, str(item.rows)) for item in found.label_faults]
        render.print_table(out, "Rows of the label table without effect", ("what is wrong", "rows"), faults)


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
        (count.part.value, str(count.patients), str(count.images), *map(str, count.class_images), render.bars(count.class_images))
        for count in cohort.parts
    ]
    render.print_table(out, "Images by class (Fig. 3)", ("part", "patients", "images", *result.classes, ""), rows)
    pairs = [low + high for low, high in zip(cohort.histogram[::2], cohort.histogram[1::2], strict=True)]
    intensities = [("0 to 1, logarithmic", render.bars(pairs, decades=_DECADES))]
    render.print_table(out, "Pixels by intensity (Fig. 4)", ("intensity", "pixels"), intensities)
    if cohort.rejections:
        left_out = [(item.reason, str(item.files)) for item in cohort.rejections]
        render.print_table(out, "Left out", ("reason", "files"), left_out)
    if result.label_faults:
        faults = [(item.fault, str(item.rows)) for item in result.label_faults]
        render.print_table(out, "Rows of the label table without effect", ("what is wrong", "rows"), faults)
    for warning in result.warnings:
        out.print(f"[bold red]{escape(warning)}[/] Look at {escape(result.page)}", highlight=False, soft_wrap=True)

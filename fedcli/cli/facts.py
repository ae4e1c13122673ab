"""Prepared data on the command line: the label table's columns in, the paper's Table 1 row out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli import render
from fedcli.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.imaging.labels import LabelColumns
    from fedcli.operations.prepare import PrepareResult


def label_columns(values: list[str]) -> LabelColumns:
    """Return options of the form WHAT=NAME as the names of a label table's columns.

    Raises:
        UsageError: A value has another form.
    """
    from dataclasses import fields

    from fedcli.imaging.labels import LabelColumns

    known = [item.name for item in fields(LabelColumns)]
    found: dict[str, str] = {}
    for value in values:
        what, separator, name = value.partition("=")
        if what not in known or not separator or not name:
            msg = f"--column {value}: expected one of {', '.join(known)}, then = and the column's name"
            raise UsageError(msg)
        found[what] = name
    return LabelColumns(**found)


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
    rows = [(count.part.value, str(count.patients), str(count.images), *map(str, count.class_images)) for count in cohort.parts]
    render.print_table(out, "Images by class", ("part", "patients", "images", *result.classes), rows)
    if cohort.rejections:
        left_out = [(item.reason, str(item.files)) for item in cohort.rejections]
        render.print_table(out, "Left out", ("reason", "files"), left_out)

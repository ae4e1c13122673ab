"""A label table → the class of each image, or the reason why it has none.

The table is keyed by one column: the one, among those given or recognised, that names most images; of equal ones the most
specific (SOP instance, file, accession, study, patient). Contradictions are never resolved by guessing: the images are left out
and listed.

A table that lists files can also supply the patient, side and view of a picture without a header. It never replaces what a file
states itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from fedcli.errors import DataError
from fedcli.imaging.labels.columns import LabelKey
from fedcli.imaging.labels.key_columns import KeyColumn, names_of, normal_name, side_of
from fedcli.imaging.labels.resolution import RowFault, RowProblem, resolve
from fedcli.imaging.mammogram import VIEWS
from fedcli.plan import Differing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fedcli.imaging.labels.columns import LabelTable
    from fedcli.imaging.mammogram import ImageMetadata
    from fedcli.imaging.rejection import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultCount:
    """How many rows have no effect because of one fault."""

    fault: RowFault
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedLabels:
    """The table, joined with the images.

    Attributes:
        key: What the table is keyed by.
        column: The name of that column.
        outcomes: For each image the position of its class, or the reason why it has none.
        problems: Rows without effect, in the order of the table.
        remarks: What else identifies images, and why rows and images that look alike do not match.
    """

    key: LabelKey
    column: str
    outcomes: tuple[int | Reason, ...]
    problems: tuple[RowProblem, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDetails:
    """What the table states about a file; '' where it does not, or where its rows contradict one another.

    Attributes:
        patient: Patient identifier, before the patient pattern.
        study: Identifies the study.
        accession: Accession number.
        laterality: 'L', 'R' or ''.
        view: 'CC', 'MLO', … or ''.
    """

    patient: str = ""
    study: str = ""
    accession: str = ""
    laterality: str = ""
    view: str = ""

    def complete(self, metadata: ImageMetadata) -> ImageMetadata:
        """Return a file's metadata with what the table states where the file does not."""
        missing = [item.name for item in fields(self) if not getattr(metadata, item.name)]
        return replace(metadata, **{name: getattr(self, name) for name in missing})


def details_of(table: LabelTable, files: Sequence[str]) -> Mapping[str, FileDetails]:
    """Return what the table states about each file that it lists; nothing if it has no column of files."""
    column = table.column(LabelKey.FILE)
    if column is None:
        return {}
    positions = (*map(table.column, (LabelKey.PATIENT, LabelKey.STUDY, LabelKey.ACCESSION)), table.side, table.view)
    details: dict[str, FileDetails] = {}
    for row in table.content.rows:
        name = normal_name(LabelKey.FILE, row.cells[column])
        of_row = _details(*("" if position is None else row.cells[position] for position in positions))
        details[name] = _agreed(details[name], of_row) if name in details else of_row
    names = names_of(files, details.keys())
    return {file: details[name] for file, name in zip(files, names, strict=True) if name}


def join(
    table: LabelTable,
    images: Mapping[str, ImageMetadata],
    classes: Sequence[str],
    differing: Differing = Differing.EXCLUDE,
    refused: Mapping[str, ImageMetadata | None] | None = None,
) -> MatchedLabels:
    """Give each image its class.

    Args:
        table: The label table.
        images: The metadata of each image, by the path of its file within the archive.
        classes: The plan's classes.
        differing: What happens if the sides of a patient, study or accession have different classes.
        refused: What is known about the files that are left out, by path.

    Raises:
        DataError: No row names any image.
    """
    candidates = [KeyColumn.of(table, key, index, images) for key, index in table.keys]
    best = max(candidates, key=lambda candidate: candidate.num_images)
    if not best.num_images:
        columns = ", ".join(f"{candidate.column} ({candidate.key})" for candidate in candidates)
        msg = f"{table.path}: no row names any of the {len(images)} images; tried the columns {columns}"
        hint = "if the table writes patient identifiers differently than the images do, use --patient-pattern"
        raise DataError(msg, hint="; ".join([*(remark for item in candidates for remark in item.differences(images)), hint]))
    keys = [(key, metadata.laterality) for key, metadata in zip(best.keys, images.values(), strict=True)]
    outcomes, problems = resolve(best.rows, keys, classes, differing, best.named(refused or {}))
    others = [item for item in candidates if item is not best and item.num_images]
    remarks = [
        f"labels are joined by the column {best.column}, which names {best.num_images} images; "
        f"{other.column} names {other.num_images}"
        for other in others
    ]
    remarks += best.differences(images)
    return MatchedLabels(key=best.key, column=best.column, outcomes=outcomes, problems=problems, remarks=tuple(remarks))


def fault_counts(problems: Iterable[RowProblem]) -> tuple[FaultCount, ...]:
    """Return the number of rows without effect by fault, the most common fault first."""
    counts = Counter(problem.fault for problem in problems)
    return tuple(FaultCount(fault=fault, rows=rows) for fault, rows in counts.most_common())


def _details(patient: str, study: str, accession: str, side: str, view: str) -> FileDetails:
    view = view.upper()
    return FileDetails(
        patient=patient,
        study=study,
        accession=accession,
        laterality=side_of(side),
        view=view if view in VIEWS else "",
    )


def _agreed(first: FileDetails, second: FileDetails) -> FileDetails:
    both = {item.name: (getattr(first, item.name), getattr(second, item.name)) for item in fields(FileDetails)}
    return FileDetails(**{name: one if one == other else "" for name, (one, other) in both.items()})

"""A label table → the class of each image, or the reason why it has none.

The table is keyed by one column: the one, among those given or recognised, that names most images; of equal ones the most
specific (SOP instance, file, accession, study, patient). Contradictions are never resolved by guessing: the images are left out
and listed.

A table that lists files can also supply the patient, side and view of a picture without a header. It never replaces what a file
states itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from fedcli.errors import DataError
from fedcli.imaging.labels.columns import LabelKey
from fedcli.imaging.labels.exam_dates import normal_dates
from fedcli.imaging.labels.exams import not_taken
from fedcli.imaging.labels.key_columns import KeyColumn, names_of, normal_name, side_of
from fedcli.imaging.labels.resolution import RowFault, RowProblem, Scope, is_empty, resolve
from fedcli.imaging.mammogram import VIEWS
from fedcli.plan import Differing, Exams

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
        date: The exam's date, YYYYMMDD, or ''.
    """

    patient: str = ""
    study: str = ""
    accession: str = ""
    laterality: str = ""
    view: str = ""
    date: str = ""

    def complete(self, metadata: ImageMetadata) -> ImageMetadata:
        """Return a file's metadata with what the table states where the file does not."""
        missing = [item.name for item in fields(self) if not getattr(metadata, item.name)]
        return replace(metadata, **{name: getattr(self, name) for name in missing})


class TableDetails(Mapping[str, FileDetails]):
    """What a table states about each file that it lists, looked up in the table only when it is asked for."""

    def __init__(self, table: LabelTable, column: int, files: Sequence[str]) -> None:
        keys = (LabelKey.PATIENT, LabelKey.STUDY, LabelKey.ACCESSION)
        positions = (*map(table.column, keys), table.side, table.view, table.date)
        content = table.content
        self._columns = [None if position is None else content.columns[position] for position in positions]
        self._dates = normal_dates(self._columns[-1] or ())
        self._disputed: dict[int, FileDetails] = {}
        rows: dict[str, int] = {}
        for number, cell in enumerate(content.columns[column]):
            first = rows.setdefault(normal_name(LabelKey.FILE, cell), number)
            if first != number and (agreed := _agreed(self._of(first), self._of_row(number))) != self._of(first):
                self._disputed[first] = agreed
        names = zip(files, names_of(files, rows.keys()), strict=True)
        self._rows = {file: rows[name] for file, name in names if name}

    def __getitem__(self, file: str) -> FileDetails:
        """Return what the rows that list a file agree on."""
        return self._of(self._rows[file])

    def __iter__(self) -> Iterator[str]:
        """Yield the files that the table lists."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Return how many files it lists."""
        return len(self._rows)

    def _of(self, first: int) -> FileDetails:
        return self._disputed.get(first) or self._of_row(first)

    def _of_row(self, number: int) -> FileDetails:
        cells = ("" if column is None else column[number] for column in self._columns)
        patient, study, accession, side, view, date = ("" if is_empty(cell) else cell for cell in cells)
        view, date = view.upper(), self._dates.get(date, "")
        return FileDetails(
            patient=patient,
            study=study,
            accession=accession,
            laterality=side_of(side),
            view=view if view in VIEWS else "",
            date=date if date.isdecimal() else "",
        )


def details_of(table: LabelTable, files: Sequence[str]) -> Mapping[str, FileDetails]:
    """Return what the table states about each file that it lists; nothing if it has no column of files."""
    column = table.column(LabelKey.FILE)
    return {} if column is None else TableDetails(table, column, files)


def join(
    table: LabelTable,
    files: Sequence[str],
    images: Sequence[ImageMetadata],
    classes: Sequence[str],
    *,
    differing: Differing = Differing.EXCLUDE,
    exams: Exams = Exams.ALL,
    refused: Mapping[str, ImageMetadata | None] | None = None,
) -> MatchedLabels:
    """Give each image its class.

    Args:
        table: The label table.
        files: The path of each image's file within the archive.
        images: The metadata of each image.
        classes: The plan's classes.
        differing: What happens if the sides or exams of a patient, study or accession have different classes.
        exams: Which of a patient's exams with a label are taken.
        refused: What is known about the files that are left out, by path.

    Raises:
        DataError: No row names any image.
    """
    candidates = [KeyColumn.of(table, key, index, files, images) for key, index in table.keys]
    best = max(candidates, key=lambda candidate: candidate.num_images)
    if not best.num_images:
        raise _no_image(table, candidates, files, images)
    scopes = _scopes_of(images)
    others = refused or {}
    left_out = list(zip(best.keys_of(list(others), list(others.values())), _scopes_of(others.values()), strict=True))
    outcomes, problems = resolve(best.rows, best.keys, scopes, classes, differing, left_out)
    if reasons := not_taken(images, outcomes, exams):
        left_out += [(best.keys[number], scopes[number]) for number in reasons]
        keys = ["" if number in reasons else key for number, key in enumerate(best.keys)]
        outcomes, problems = resolve(best.rows, keys, scopes, classes, differing, left_out)
        outcomes = tuple(reasons.get(number, outcome) for number, outcome in enumerate(outcomes))
    remarks = _remarks(best, candidates, files, images)
    return MatchedLabels(key=best.key, column=best.column, outcomes=outcomes, problems=problems, remarks=tuple(remarks))


def _scopes_of(images: Iterable[ImageMetadata | None]) -> list[Scope]:
    """Return side and date of each image; equal ones are one object."""
    kept: dict[Scope, Scope] = {}
    scopes = (Scope(image.laterality, image.date) if image else Scope() for image in images)
    return [kept.setdefault(scope, scope) for scope in scopes]


def _no_image(table: LabelTable, candidates: list[KeyColumn], files: Sequence[str], images: Sequence[ImageMetadata]) -> DataError:
    columns = ", ".join(f"{candidate.column} ({candidate.key})" for candidate in candidates)
    msg = f"{table.path}: no row names any of the {len(images)} images; tried the columns {columns}"
    hint = "if the table writes patient identifiers differently than the images do, use --patient-pattern"
    return DataError(msg, hint="; ".join([*(remark for item in candidates for remark in item.differences(files, images)), hint]))


def _remarks(best: KeyColumn, candidates: list[KeyColumn], files: Sequence[str], images: Sequence[ImageMetadata]) -> list[str]:
    remarks = [
        f"labels are joined by the column {best.column}, which names {best.num_images} images; "
        f"{other.column} names {other.num_images}"
        for other in candidates
        if other is not best and other.num_images
    ]
    table = best.rows.table
    if table.other_labels:
        others = ", ".join(table.other_labels)
        remarks.append(f"classes are in the column {table.content.names[table.label]}; --column label= takes another: {others}")
    if best.other_dates and table.date is not None:
        column = table.content.names[table.date]
        remarks.append(f"column {column}: no date is that of an image of the row's patient, so rows hold for all exams")
    return remarks + best.differences(files, images)


def fault_counts(problems: Iterable[RowProblem]) -> tuple[FaultCount, ...]:
    """Return the number of rows without effect by fault, the most common fault first."""
    counts = Counter(problem.fault for problem in problems)
    return tuple(FaultCount(fault=fault, rows=rows) for fault, rows in counts.most_common())


def _agreed(first: FileDetails, second: FileDetails) -> FileDetails:
    both = {item.name: (getattr(first, item.name), getattr(second, item.name)) for item in fields(FileDetails)}
    return FileDetails(**{name: one if one == other else "" for name, (one, other) in both.items()})

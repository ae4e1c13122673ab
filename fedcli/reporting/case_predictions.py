"""What a model predicts for each case: the table that `fedcli predict` writes, and the order of its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedcli.text.csv_text import csv_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutImage:
    """A file without a prediction, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePrediction:
    """One case: a patient, or a study.

    Attributes:
        case: Its pseudonym.
        patient: The patient's identifier; None for prepared data, which do not have it.
        images: Positions of its images; none where all were left out.
        files: Their paths; none for prepared data.
        probabilities: Mean over the images, by class; none without images.
        left_out: Its files that are not among the images.
    """

    case: str
    patient: str | None
    images: tuple[int, ...]
    files: tuple[str, ...]
    probabilities: tuple[float, ...]
    left_out: tuple[LeftOutImage, ...]

    @property
    def label(self) -> int:
        """The most probable class, of equally probable ones the lowest; there must be images."""
        return int(np.argmax(self.probabilities))

    @property
    def lead(self) -> float:
        """By how much the most probable class is ahead of the next one; there must be images."""
        second, first = sorted(self.probabilities)[-2:]
        return first - second


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionTable:
    """All cases, sorted by their pseudonyms.

    Attributes:
        classes: The plan's classes.
        lead: A case with a smaller lead is uncertain.
        cases: The cases.
    """

    classes: tuple[str, ...]
    lead: float
    cases: tuple[CasePrediction, ...]

    @property
    def predicted(self) -> tuple[CasePrediction, ...]:
        """The cases with images, the most uncertain first."""
        return tuple(sorted((item for item in self.cases if item.images), key=lambda item: item.lead))

    @property
    def unpredicted(self) -> tuple[CasePrediction, ...]:
        """The cases without images."""
        return tuple(item for item in self.cases if not item.images)

    def uncertain(self, item: CasePrediction) -> bool:
        """Tell whether a case with images is uncertain."""
        return item.lead < self.lead

    @property
    def num_uncertain(self) -> int:
        """The number of uncertain cases."""
        return sum(map(self.uncertain, self.predicted))

    def class_cases(self) -> tuple[int, ...]:
        """Return the number of cases predicted of each class."""
        return tuple(np.bincount([item.label for item in self.predicted], minlength=len(self.classes)).tolist())

    def text(self) -> str:
        """Return the table as CSV; columns about files are there for files only."""
        from_files = any(item.patient is not None for item in self.cases)
        first, last = (("patient",), ("files", "left_out")) if from_files else ((), ())
        named = (f"p({name})" for name in self.classes)
        lines: list[tuple[object, ...]] = [("case", *first, "images", *named, "uncertain", "predicted", *last)]
        for item in self.cases:
            figures = tuple(f"{value:.6f}" for value in item.probabilities) or ("",) * len(self.classes)
            said = ("yes" if self.uncertain(item) else "no", self.classes[item.label]) if item.images else ("", "")
            left_out = "; ".join(f"{each.file}: {each.reason}" for each in item.left_out)
            whose = (item.patient,) if from_files else ()
            about_files = ("; ".join(item.files), left_out) if from_files else ()
            lines.append((item.case, *whose, len(item.images), *figures, *said, *about_files))
        return csv_text(lines)


def prediction_table(
    classes: tuple[str, ...],
    lead: float,
    cases: Sequence[str],
    probabilities: NDArray[np.float64],
    *,
    files: Sequence[str] = (),
    patients: Mapping[str, str],
    left_out: Mapping[str, Sequence[LeftOutImage]],
) -> PredictionTable:
    """Return the mean probabilities of each case.

    Args:
        classes: The plan's classes.
        lead: A case with a smaller lead is uncertain.
        cases: Pseudonym of each image's case.
        probabilities: Of each image, (N, C).
        files: Path of each image; none for prepared data.
        patients: The patient's identifier of each case, also of those without images; empty for prepared data.
        left_out: Files that are not among the images, by case.
    """
    images: dict[str, list[int]] = {name: [] for name in patients}
    for position, name in enumerate(cases):
        images.setdefault(name, []).append(position)
    rows = (
        CasePrediction(
            case=name,
            patient=patients.get(name),
            images=tuple(positions),
            files=tuple(files[position] for position in positions) if files else (),
            probabilities=tuple(probabilities[positions].mean(axis=0).tolist()) if positions else (),
            left_out=tuple(left_out.get(name, ())),
        )
        for name, positions in sorted(images.items())
    )
    return PredictionTable(classes=classes, lead=lead, cases=tuple(rows))

"""A place where a federation is tracked: `csv:DIR`, `tensorboard:DIR` or `mlflow:URI`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.reporting.trackers import csv_tracker, mlflow_tracker, tensorboard_tracker

if TYPE_CHECKING:
    from fedcli.reporting.trackers.tracked_history import TrackedFederation

_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/]*@")


class TrackerKind(StrEnum):
    """What figures are written for."""

    CSV = "csv"
    TENSORBOARD = "tensorboard"
    MLFLOW = "mlflow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """A tracker, and its place: a folder, or MLflow's tracking URI."""

    kind: TrackerKind
    place: str

    def __str__(self) -> str:
        """Return it as it is typed, but for a password."""
        return f"{self.kind}:{_without_password(self.place)}"

    def require_packages(self) -> None:
        """Raise a UsageError where a package that it needs is not installed."""
        if self.kind is TrackerKind.TENSORBOARD:
            tensorboard_tracker.require_packages()
        elif self.kind is TrackerKind.MLFLOW:
            mlflow_tracker.require_packages()

    def write(self, federation: TrackedFederation) -> int:
        """Write what is not there yet; return how many figures and digests were.

        Raises:
            StoreError: MLflow cannot be reached, or refuses what it is told.
        """
        if self.kind is TrackerKind.CSV:
            return csv_tracker.write(federation, Path(self.place))
        if self.kind is TrackerKind.TENSORBOARD:
            return tensorboard_tracker.write(federation, Path(self.place))
        return mlflow_tracker.write(federation, self.place, str(self))


def parsed(text: str) -> Tracker:
    """Return the tracker that a text names.

    Raises:
        UsageError: It names none.
    """
    kind, _, place = text.partition(":")
    if kind not in set(TrackerKind) or not place:
        msg = f"--to {_without_password(text)}: expected csv:DIR, tensorboard:DIR or mlflow:URI"
        raise UsageError(msg, hint="for example csv:figures, tensorboard:runs or mlflow:http://127.0.0.1:5000")
    return Tracker(kind=TrackerKind(kind), place=place)


def _without_password(text: str) -> str:
    return _PASSWORD.sub(r"\1:…@", text)

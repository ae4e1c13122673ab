"""Tell experiment trackers what a drop folder's signed records say, at any time; what they have already is not told again."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.errors import TrustError, UsageError
from fedcli.party.history.history_reader import read_history
from fedcli.party.history.inspection import chain_problems, confirmation
from fedcli.reporting.trackers.tracked_history import tracked
from fedcli.reporting.trackers.tracker import parsed
from fedcli.results import Result, Status
from fedcli.text.wording import counted

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.exchange.history import History, Problem
    from fedcli.party.history.records_read import Reading
    from fedcli.party.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRequest:
    """What to track, and where.

    Attributes:
        source: The drop folder.
        trackers: Each as `csv:DIR`, `tensorboard:DIR` or `mlflow:URI`.
    """

    source: Source
    trackers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerUpdate:
    """What a tracker was told.

    Attributes:
        tracker: It, without a password.
        added: How many figures and digests were not there.
    """

    tracker: str
    added: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackResult(Result):
    """What trackers were told.

    Attributes:
        federation: Digest of the federation's first record.
        head: Digest of the newest round record.
        round: Its number.
        figures: Figures in the records.
        files: Digests of records and artifacts.
        trackers: What each was told.
        verified: Whether every record verified against the coordinator's key.
        statement: What was verified, and against which key.
        problems: What did not verify; it was not told.
    """

    federation: str
    head: str
    round: int
    figures: int
    files: int
    trackers: tuple[TrackerUpdate, ...]
    verified: bool
    statement: str
    problems: tuple[Problem, ...]


def track(request: TrackRequest, environment: Environment) -> TrackResult:
    """Verify the records, and tell every tracker what it does not have.

    Raises:
        UsageError: A tracker is not one, or needs a package that is not installed.
        TrustError: The folder holds no federation that verifies.
        StoreError: The drop folder cannot be read, or MLflow cannot be reached.
    """
    trackers = [parsed(text) for text in request.trackers]
    if not trackers:
        msg = "no tracker is named"
        raise UsageError(msg, hint="--to csv:DIR, --to tensorboard:DIR or --to mlflow:URI")
    for tracker in trackers:
        tracker.require_packages()
    with tempfile.TemporaryDirectory(prefix="fedcli-track-") as scratch:
        folder = request.source.folder(Path(scratch))
        history, reading = read_history(folder)
        if not history.rounds:
            raise TrustError("\n".join(problem.message for problem in chain_problems(history, reading)))
    statement = _statement(reading)
    federation = tracked(history, statement)
    updates = []
    with environment.progress.track("tracking", len(trackers), "trackers") as advance:
        for tracker in trackers:
            updates.append(TrackerUpdate(tracker=str(tracker), added=tracker.write(federation)))
            advance(1, str(tracker))
    return TrackResult(
        status=Status.DONE,
        message=_message(history, updates),
        federation=federation.federation,
        head=federation.head,
        round=len(history.rounds) - 1,
        figures=len(federation.values),
        files=len(federation.files),
        trackers=tuple(updates),
        verified=folder.ledger.pinned is not None and not reading.problems,
        statement=statement,
        problems=tuple(reading.problems),
    )


def _message(history: History, updates: list[TrackerUpdate]) -> str:
    told = ", ".join(f"{counted(item.added, 'new value')} in {item.tracker}" for item in updates)
    return f"round {len(history.rounds) - 1} of {history.plan.rounds}: {told}"


def _statement(reading: Reading) -> str:
    """Return in one sentence what holds of the records; artifacts are not read."""
    if not reading.problems:
        return confirmation(reading.folder.ledger)
    return f"NOT verified: {counted(len(reading.problems), 'problem')}, the first in {reading.problems[0].key}"

"""The state of a federation, as the other modules and programs read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.results import Result

if TYPE_CHECKING:
    from datetime import datetime

    from fedcli.exchange.history import Problem
    from fedcli.exchange.records import Restart
    from fedcli.party.history.newest_rounds import RoundRow
    from fedcli.party.next_commands import NextCommand
    from fedcli.reporting.tables.learning import LearningCurve


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """One member.

    Attributes:
        enrolled: Whether it has published its enrolment.
        updates: Rounds for which it has sent an update.
        last_round: The newest of them.
        last_kappa: Validation kappa of its own model then.
        in_open_round: Whether its update of the open round has arrived.
        models: Kinds of models that it shares.
        evaluated: Whether it has published an evaluation.
        epsilon: What it claims that its updates have cost its training patients; null if the plan promises them nothing.
    """

    site: str
    enrolled: bool
    updates: int
    last_round: int | None
    last_kappa: float | None
    in_open_round: bool
    models: tuple[str, ...]
    evaluated: bool
    epsilon: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStatus:
    """One published round.

    Attributes:
        kappa: Mean of the sites' validation kappa of its global model.
        excused: Members that had sent nothing and were left out, with the reason.
        restart: The earlier round whose model it has again, and why; null for a round of training.
    """

    round: int
    created: datetime
    used: tuple[str, ...]
    absent: tuple[str, ...]
    rejected: tuple[str, ...]
    late: tuple[str, ...]
    kappa: float | None
    excused: tuple[str, ...]
    restart: Restart | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusResult(Result):
    """The state of a federation.

    Attributes:
        sites: The members that train.
        testers: The members that only test.
        message: Whose turn it is and what they type, in one line.
        open_round: The round that awaits updates; null before φ(0) and when all are done.
        awaited: Sites whose update of it is awaited.
        waiting_since: When the newest round record was made.
        deadline: When the open round may be closed with a quorum.
        overdue: Whether the deadline has passed.
        applicants: Sites that have enrolled and are not admitted.
        renewed: Members that have enrolled a new key, which waits for the coordinator's `admit`.
        confirmed: Whether the coordinator's key is the one pinned in a workspace.
        matrix: The newest rounds with all members, the open one last.
        turns: What can be done next, the viewer's own command first.
        curves: Each site's validation scores, round by round.
        dates: What is odd about the dates in the records.
        advice: What sites with few patients should know, by their newest updates.
        expected_end: When the last round will be closed at the pace of the newest ones; null before round 2.
    """

    name: str
    drop: str
    coordinator: str
    confirmed: bool
    round: int
    rounds: int
    open_round: int | None
    awaited: tuple[str, ...]
    waiting_since: datetime | None
    deadline: datetime | None
    applicants: tuple[str, ...]
    renewed: tuple[str, ...]
    sites: tuple[SiteStatus, ...]
    history: tuple[RoundStatus, ...]
    problems: tuple[Problem, ...]
    overdue: bool
    matrix: tuple[RoundRow, ...]
    turns: tuple[NextCommand, ...]
    curves: tuple[LearningCurve, ...]
    dates: tuple[str, ...]
    advice: tuple[str, ...]
    testers: tuple[SiteStatus, ...]
    expected_end: datetime | None

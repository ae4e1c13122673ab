"""What `aggregate` is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcli.results import Result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from fedcli.exchange.records import Excused, Late, Rejected
    from fedcli.party.update_review import RoundReviewer, SiteReview


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateRequest:
    """How to close the open round.

    Attributes:
        root: The coordinator's workspace.
        without: Sites to leave out of this round, each with the reason, which the round record states.
        reviewer: Reviews the updates before anything is published; None publishes.
        below_quorum: Whether the round may be closed without them though fewer updates than the plan's quorum are left.
        void: Why a masked round is ended without a result; None does not.
    """

    root: Path
    without: Mapping[str, str] = field(default_factory=dict)
    below_quorum: bool = False
    void: str | None = None
    reviewer: RoundReviewer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateResult(Result):
    """The open round, or the one that was closed.

    Attributes:
        round: The round that the command was about.
        rounds: All rounds of the plan.
        used: Sites whose update has arrived, or was used.
        absent: Sites that have sent nothing.
        excused: Sites that have sent nothing and are left out, with the reason.
        rejected: Sites whose update was rejected, with the reason.
        late: Sites whose update of an earlier round has arrived since the last round record.
        deadline: When the round may be closed with a quorum.
        global_model: SHA-256 of φ(t) if it was published.
        review: Each used site's figures, if φ(t) was computed.
    """

    round: int
    rounds: int
    used: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    excused: tuple[Excused, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    late: tuple[Late, ...] = ()
    deadline: datetime | None = None
    global_model: str | None = None
    review: tuple[SiteReview, ...] = ()

"""Where a federation stands: who is in, who is awaited and since when, and whose turn it is."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.environment import now
from fedcli.exchange import layout
from fedcli.exchange.outbox import Outbox
from fedcli.exchange.store import LocalStore, open_store
from fedcli.party import turn
from fedcli.party.attendance import Standing, matrix_of, members_of
from fedcli.party.folder import Folder
from fedcli.party.history_reader import read_history
from fedcli.party.intake import open_deadline
from fedcli.party.party import store_of
from fedcli.party.turn import OpenRound, Reader, Turn
from fedcli.reporting.tables.learning import learning_curves
from fedcli.results import Result, Status
from fedcli.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from fedcli.exchange.history import History, Problem
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.store import StoreOptions
    from fedcli.party.attendance import RoundPresence
    from fedcli.reporting.tables.learning import LearningCurve


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """One member.

    Attributes:
        enrolled: Whether it has published its enrolment.
        updates: Rounds for which it has sent an update.
        last_round: The newest of them.
        last_kappa: Validation kappa of its own model then.
        in_open_round: Whether its update of the open round is there.
        models: Kinds of models that it shares.
        evaluated: Whether it has published an evaluation.
    """

    site: str
    enrolled: bool
    updates: int
    last_round: int | None
    last_kappa: float | None
    in_open_round: bool
    models: tuple[str, ...]
    evaluated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStatus:
    """One published round.

    Attributes:
        kappa: Patient-weighted mean of the sites' validation kappa of its global model.
    """

    round: int
    created: datetime
    used: tuple[str, ...]
    absent: tuple[str, ...]
    rejected: tuple[str, ...]
    late: tuple[str, ...]
    kappa: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusResult(Result):
    """The whole federation at a glance.

    Attributes:
        message: Whose turn it is and what they type, in one line.
        open_round: The round that awaits updates; null before φ(0) and when all are done.
        awaited: Sites whose update of it is awaited.
        waiting_since: When the newest round record was made.
        deadline: When the open round may be closed with a quorum.
        overdue: Whether that moment has passed.
        applicants: Sites that have enrolled and are not admitted.
        confirmed: Whether the coordinator's key is the one pinned in a workspace.
        matrix: The newest rounds with every member's part in them, the open one last.
        turns: What can be done next, the reader's own turn first.
        curves: What each site's validation patients have said of the models, round by round.
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
    sites: tuple[SiteStatus, ...]
    history: tuple[RoundStatus, ...]
    problems: tuple[Problem, ...]
    overdue: bool
    matrix: tuple[RoundPresence, ...]
    turns: tuple[Turn, ...]
    curves: tuple[LearningCurve, ...]


def status(
    drop: str | None, root: Path, clock: Callable[[], datetime] = now, options: StoreOptions | None = None
) -> StatusResult:
    """Tell where a federation stands.

    Args:
        drop: The drop folder; None takes the workspace's, with its pinned key and what it has trusted.
        root: The workspace.
        clock: The present moment: a deadline has passed or not.
        options: How the given drop folder is reached.

    Raises:
        StoreError: The drop folder cannot be read.
        ConfigurationError: Neither a drop folder nor a workspace is there.
        TrustError: The drop folder holds no federation that verifies.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if drop is not None:
            reader = Reader(name=None, root=root, drop=drop, coordinator=None)
            folder = Folder(open_store(drop, options), coordinator=None, cache=Path(scratch))
        else:
            workspace = Workspace.open(root)
            settings = workspace.settings
            holds = bool(Outbox(workspace.path("outbox"), workspace.path("state")).held())
            reader = Reader(
                name=settings.name, root=root, drop=workspace.drop_address, coordinator=settings.coordinator, holds=holds
            )
            memory = workspace.path("trusted")
            memory.mkdir(exist_ok=True)
            folder = Folder(store_of(workspace), coordinator=reader.coordinator, cache=Path(scratch), memory=LocalStore(memory))
        history, reading = read_history(folder)
        if not history.federations:
            folder.synchronise()  # raises what is wrong
        return _result(folder, history, reading.keys, reader, clock())


def _result(folder: Folder, history: History, keys: tuple[str, ...], reader: Reader, moment: datetime) -> StatusResult:
    ledger = folder.ledger
    newest = ledger.newest_round
    opened = newest + 1 if history.rounds and not history.finished else None
    members = members_of(ledger, newest + 1)
    enrolled = {site for site in layout.site_names(keys) if layout.enrolment(site, 0) in keys}
    ever = {member.site for found in ledger.federations for member in found.record.members}  # a removed site does not apply
    applicants = tuple(sorted(enrolled - ever))
    matrix = matrix_of(ledger, history, members, opened)
    deadline = open_deadline(ledger)
    overdue = deadline is not None and moment >= deadline
    standing = _open_round(ledger, history, matrix[-1], overdue=overdue) if opened is not None else None
    turns = turn.turns(history, members, applicants, standing, reader)
    return StatusResult(
        status=Status.FINISHED if history.finished else Status.WAITING,
        message=turn.sentence(history, turns, reader),
        name=history.plan.name,
        drop=folder.store.address,
        coordinator=ledger.first_key.fingerprint,
        confirmed=reader.coordinator is not None,
        round=newest,
        rounds=history.plan.rounds,
        open_round=opened,
        awaited=standing.awaited if standing else (),
        waiting_since=history.rounds[-1].record.created if history.rounds else None,
        deadline=deadline,
        applicants=applicants,
        sites=tuple(_site(history, site, opened, enrolled) for site in members),
        history=tuple(_round(history, number, kappa) for number, kappa in enumerate(history.global_kappas())),
        problems=history.problems,
        overdue=overdue,
        matrix=matrix,
        turns=turns,
        curves=learning_curves(history),
    )


def _open_round(ledger: Ledger, history: History, row: RoundPresence, *, overdue: bool) -> OpenRound:
    plan = ledger.in_force(row.round).record.plan
    awaited = row.those(Standing.AWAITED)
    return OpenRound(
        present=row.those(Standing.IN),
        awaited=awaited,
        refused=row.those(Standing.REJECTED),
        unapproved=tuple(site for site in awaited if _approved(history, site) not in {None, plan.digest}),
        overdue=overdue,
        settings=plan.aggregation,
    )


def _approved(history: History, site: str) -> str | None:
    """Return the digest of the plan that a site last said it works under; None where it has said nothing."""
    for number in range(len(history.rounds), 0, -1):
        if update := history.updates.get((site, number)):
            return update.record.plan
    return history.enrolments[site].record.plan if site in history.enrolments else None


def _site(history: History, site: str, opened: int | None, enrolled: set[str]) -> SiteStatus:
    rounds = sorted(number for name, number in history.updates if name == site)
    last = history.updates[site, rounds[-1]].record if rounds else None
    return SiteStatus(
        site=site,
        enrolled=site in enrolled,
        updates=len(rounds),
        last_round=rounds[-1] if rounds else None,
        last_kappa=last.trained.kappa if last else None,
        in_open_round=opened is not None and (site, opened) in history.updates,
        models=tuple(sorted(kind.value for name, kind in history.models if name == site)),
        evaluated=site in history.evaluations,
    )


def _round(history: History, number: int, kappa: float | None) -> RoundStatus:
    record = history.rounds[number].record
    return RoundStatus(
        round=number,
        created=record.created,
        used=tuple(item.site for item in record.contributions),
        absent=record.absent,
        rejected=tuple(f"{item.site} ({item.reason})" for item in record.rejected),
        late=tuple(f"{item.site} (round {item.round})" for item in record.late),
        kappa=kappa,
    )

"""Where a federation stands: who is in, who is awaited, and whose turn it is."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.exchange import layout
from fedcli.exchange.store import LocalStore, open_store
from fedcli.operations.folder import Folder
from fedcli.operations.history import read_history
from fedcli.operations.party import Status
from fedcli.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from fedcli.exchange.history import History, Problem


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
class StatusResult:
    """The whole federation at a glance.

    Attributes:
        open_round: The round that awaits updates; null when all are done.
        awaited: Sites whose update of it is awaited.
        waiting_since: When the newest round record was made.
        applicants: Sites that have enrolled and are not admitted.
        confirmed: Whether the coordinator's key is the one pinned in a workspace.
    """

    status: Status
    message: str
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


def status(drop: str | None, root: Path) -> StatusResult:
    """Tell where a federation stands.

    Args:
        drop: The drop folder; None takes the workspace's, with its pinned key and what it has trusted.
        root: The workspace.

    Raises:
        StoreError: The drop folder cannot be read.
        ConfigurationError: Neither a drop folder nor a workspace is there.
        TrustError: The drop folder holds no federation that verifies.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if drop is not None:
            folder = Folder(open_store(drop), coordinator=None, cache=Path(scratch))
        else:
            workspace = Workspace.open(root)
            memory = workspace.path("trusted")
            memory.mkdir(exist_ok=True)
            folder = Folder(
                open_store(workspace.drop_address),
                coordinator=workspace.settings.coordinator,
                cache=Path(scratch),
                memory=LocalStore(memory),
            )
        history, reading = read_history(folder)
        if not history.federations:
            folder.synchronise()  # raises what is wrong
        return _result(folder, history, reading.keys, confirmed=drop is None)


def _result(folder: Folder, history: History, keys: tuple[str, ...], *, confirmed: bool) -> StatusResult:
    ledger = folder.ledger
    newest = ledger.newest_round
    opened = None if history.finished else newest + 1
    members = tuple(member.site for member in ledger.in_force(newest + 1).record.members)
    awaited = tuple(site for site in members if opened is not None and (site, opened) not in history.updates)
    enrolled = {site for site in layout.site_names(keys) if layout.enrolment(site, 0) in keys}
    applicants = tuple(sorted(enrolled - set(members)))
    return StatusResult(
        status=Status.FINISHED if history.finished else Status.WAITING,
        message=next(_turns(history, members, awaited, applicants)),
        name=history.plan.name,
        drop=folder.store.address,
        coordinator=ledger.first_key.fingerprint,
        confirmed=confirmed,
        round=newest,
        rounds=history.plan.rounds,
        open_round=opened,
        awaited=awaited,
        waiting_since=history.rounds[-1].record.created if history.rounds else None,
        deadline=history.rounds[-1].record.deadline if history.rounds else None,
        applicants=applicants,
        sites=tuple(_site(history, site, opened, enrolled) for site in members),
        history=tuple(_round(history, number) for number in range(len(history.rounds))),
        problems=history.problems,
    )


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


def _round(history: History, number: int) -> RoundStatus:
    record = history.rounds[number].record
    return RoundStatus(
        round=number,
        created=record.created,
        used=tuple(item.site for item in record.contributions),
        absent=record.absent,
        rejected=tuple(f"{item.site} ({item.reason})" for item in record.rejected),
        late=tuple(f"{item.site} (round {item.round})" for item in record.late),
        kappa=history.global_kappa(number),
    )


def _turns(history: History, members: tuple[str, ...], awaited: tuple[str, ...], applicants: tuple[str, ...]) -> Iterator[str]:
    """Yield in one line each whose turn it is and what they should type, the most pressing first."""
    if history.problems:
        yield f"{len(history.problems)} problems, first in {history.problems[0].key}; look at fedcli verify"
    if applicants:
        yield f"The coordinator's turn: fedcli admit {applicants[0]}"
    if not members:
        yield "The sites' turn: fedcli join"
    if awaited:
        yield f"Turn of {', '.join(awaited)}: fedcli train-round"
    if not history.finished:
        yield "The coordinator's turn: fedcli aggregate"
    if late := [site for site in members if site not in history.evaluations]:
        yield f"All rounds are done. Turn of {', '.join(late)}: fedcli finetune, then fedcli evaluate"
    yield "All rounds are done and every site has evaluated: fedcli report"

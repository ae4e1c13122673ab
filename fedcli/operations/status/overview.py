"""The state of a federation: whose updates have arrived, who is awaited and since when, and whose turn it is."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.disclosure.small_sites import advice
from fedcli.disk import write_whole
from fedcli.exchange import layout
from fedcli.exchange.dates import expected_end, odd_dates
from fedcli.exchange.history.global_scores import global_kappas
from fedcli.exchange.outbox import Outbox
from fedcli.exchange.records import ModelKind
from fedcli.operations.status.federation_state import RoundStatus, SiteStatus, StatusResult
from fedcli.operations.status.lasting_notices import Viewpoint
from fedcli.operations.status.metrics_file import metrics_text
from fedcli.party.history.history_reader import read_history
from fedcli.party.history.newest_rounds import UpdateState, members_of, newest_rounds
from fedcli.party.masking.masked_turns import masked_turn
from fedcli.party.membership import announcement, not_admitted
from fedcli.party.memory.trusted_records import TrustedRecords
from fedcli.party.next_commands import OpenRound, Viewer, next_commands, summary
from fedcli.party.round_closing import open_deadline
from fedcli.reporting.tables.learning import learning_curves
from fedcli.results import Status
from fedcli.workspace import Workspace

if TYPE_CHECKING:
    from datetime import datetime

    from fedcli.environment import Environment
    from fedcli.exchange.history import History
    from fedcli.exchange.ledger import Ledger
    from fedcli.party.folder import Folder
    from fedcli.party.history.newest_rounds import RoundRow
    from fedcli.party.history.records_read import Reading
    from fedcli.party.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRequest:
    """Which federation to look at.

    Attributes:
        source: The drop folder. If a workspace names it, what that workspace has trusted before is the beginning.
        page: Where to write the state as a page for a screen on the wall; None writes none.
        metrics: Where to write the state for Prometheus; None writes none.
    """

    source: Source
    page: Path | None = None
    metrics: Path | None = None


def status(request: StatusRequest, environment: Environment) -> StatusResult:
    """Return the state of a federation.

    Raises:
        StoreError: The drop folder cannot be read.
        TrustError: The drop folder contains no federation that verifies.
    """
    result, ledger = observe(request.source, environment)
    root = request.source.workspace
    workspace = Workspace.open(root) if root is not None else None
    write_files(request, Viewpoint(state=result, ledger=ledger, workspace=workspace, moment=environment.clock()))
    return result


def write_files(request: StatusRequest, viewpoint: Viewpoint) -> None:
    """Write the page and the metrics where they are asked for, each whole or not at all."""
    if request.page is not None:
        from fedcli.operations.status.wall_page import wall_page  # noqa: PLC0415 - matplotlib takes a second

        write_whole(request.page, wall_page(viewpoint.state, viewpoint.moment).encode())
    if request.metrics is not None:
        write_whole(request.metrics, metrics_text(viewpoint).encode())


def observe(source: Source, environment: Environment, *, newest: bool = False) -> tuple[StatusResult, Ledger]:
    """Return the state of a federation, and its verified history.

    Args:
        source: The drop folder.
        environment: Says what time it is.
        newest: Whether only the newest updates are read; the sites' curves and counts are then incomplete.

    Raises:
        StoreError: The drop folder cannot be read.
        TrustError: The drop folder contains no federation that verifies.
    """
    viewer, memory = _viewer(source)
    with tempfile.TemporaryDirectory() as scratch:
        folder = source.folder(Path(scratch), memory)
        history, reading = read_history(folder, applicants=True, newest=newest, remembering=True)
        if not history.federations:
            folder.synchronise()  # raises what is wrong
        return _result(folder, history, reading, viewer, environment.clock()), folder.ledger


def _viewer(source: Source) -> tuple[Viewer, TrustedRecords | None]:
    """Return the person who asks, and the records that their workspace has trusted."""
    if source.workspace is None:
        return Viewer(source=source), None
    workspace = Workspace.open(source.workspace)
    holds = bool(Outbox(workspace.path("outbox"), workspace.path("state")).held())
    return Viewer(source=source, name=workspace.settings.name, holds=holds), TrustedRecords(workspace.path("trusted"))


def _advice(history: History) -> tuple[str, ...]:
    trainers = frozenset(history.trainers)
    newest = {site: update.record for (site, _), update in sorted(history.updates.items()) if site in trainers}
    newest = {site: record for site, record in newest.items() if record.region is None}
    return tuple(
        f"{site}: {sentence}"
        for site, record in newest.items()
        for sentence in advice(history.plan, record.steps, record.received.patients)
    )


def _result(folder: Folder, history: History, reading: Reading, viewer: Viewer, moment: datetime) -> StatusResult:
    ledger = folder.ledger
    newest = ledger.newest_round
    opened = newest + 1 if history.rounds and not history.finished else None
    members = members_of(ledger, newest + 1)
    enrolled = {site for site, keys in reading.listed.items() if layout.enrolment(site, 0) in keys}
    applicants, renewed = not_admitted(history, enrolled)
    matrix = newest_rounds(ledger, history, members, opened)
    rounds = _rounds_by_site(history)
    deadline = open_deadline(ledger)
    overdue = deadline is not None and moment >= deadline
    open_round = _open_round(ledger, history, matrix[-1], overdue=overdue) if opened is not None else None
    commands = next_commands(history, members, applicants + renewed, open_round, viewer)
    return StatusResult(
        status=Status.FINISHED if history.finished else Status.WAITING,
        message=announcement(ledger, viewer.source.workspace) + summary(history, commands, viewer),
        name=history.plan.name,
        drop=folder.store.address,
        coordinator=ledger.first_key.fingerprint,
        confirmed=viewer.source.coordinator is not None,
        round=newest,
        rounds=history.plan.rounds,
        open_round=opened,
        awaited=open_round.awaited if open_round else (),
        waiting_since=history.rounds[-1].record.created if history.rounds else None,
        deadline=deadline,
        applicants=applicants,
        renewed=renewed,
        sites=tuple(_site(history, site, rounds.get(site, []), opened, enrolled) for site in members),
        history=tuple(_round(history, number, kappa) for number, kappa in enumerate(global_kappas(history))),
        problems=history.problems,
        overdue=overdue,
        matrix=matrix,
        turns=commands,
        curves=learning_curves(history),
        dates=odd_dates(history, moment),
        advice=_advice(history),
        testers=tuple(_site(history, site, rounds.get(site, []), opened, enrolled) for site in history.testers),
        expected_end=expected_end(history.rounds, history.plan.rounds, moment),
    )


def _open_round(ledger: Ledger, history: History, row: RoundRow, *, overdue: bool) -> OpenRound:
    plan = ledger.in_force(row.round).record.plan
    approved = {None, plan.digest}
    turn = masked_turn(ledger, history, row.round, overdue=overdue) if plan.aggregation.masking else None
    refused = row.members(UpdateState.REJECTED)
    awaited = row.members(UpdateState.AWAITED) if turn is None else tuple(site for site in turn.awaited if site not in refused)
    return OpenRound(
        present=row.members(UpdateState.IN),
        awaited=awaited,
        refused=refused,
        unapproved=tuple(site for site in awaited if _approved(history, site) not in approved),
        overdue=overdue,
        settings=plan.aggregation,
        masked=turn,
        is_region=bool(plan.tree.above),
        summed=row.round in history.sums,
        regions=tuple(site for site in awaited if site in history.regions) if plan.tree.regions else (),
    )


def _approved(history: History, site: str) -> str | None:
    """Return the digest of the plan in a site's newest record; None if it has none."""
    for number in range(len(history.rounds), 0, -1):
        if update := history.updates.get((site, number)):
            return update.record.plan
    return history.enrolments[site].record.plan if site in history.enrolments else None


def _rounds_by_site(history: History) -> dict[str, list[int]]:
    """Return the rounds of which each site has sent an update, ascending."""
    rounds: dict[str, list[int]] = {}
    for site, number in sorted(history.updates):
        rounds.setdefault(site, []).append(number)
    return rounds


def _site(history: History, site: str, rounds: list[int], opened: int | None, enrolled: set[str]) -> SiteStatus:
    last = history.updates[site, rounds[-1]].record if rounds else None
    return SiteStatus(
        site=site,
        enrolled=site in enrolled,
        updates=len(rounds),
        last_round=rounds[-1] if rounds else None,
        last_kappa=last.trained.kappa if last else None,
        in_open_round=opened is not None and (site, opened) in history.updates,
        models=tuple(sorted(kind.value for kind in ModelKind if (site, kind) in history.models)),
        evaluated=site in history.evaluations,
        epsilon=last.privacy.epsilon if last and last.privacy else None,
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
        excused=tuple(f"{item.site} ({item.reason})" for item in record.excused),
        restart=record.restart,
    )

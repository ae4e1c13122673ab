"""A round whose updates are masked: the coordinator's next step, or its end without a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.operations.aggregate.aggregate_result import AggregateRequest, AggregateResult
from fedcli.operations.restart import restart_open_round
from fedcli.party.aggregation_input import layout_of
from fedcli.party.masking.masked_aggregation import MaskedAggregation
from fedcli.party.masking.masking_files import read_opening
from fedcli.party.masking.round_opening import open_round
from fedcli.party.round_closing import open_deadline
from fedcli.results import Status
from fedcli.text.visible_text import visible

if TYPE_CHECKING:
    from fedcli.aggregation.update import Update
    from fedcli.party.party import Party


def masked_round(party: Party, number: int, base: Update, request: AggregateRequest) -> AggregateResult:
    """Do the next step of a masked round; after its last one open the next round, if the masks of all members are there."""
    if request.reviewer is not None:
        msg = "--review shows the figures of single updates, and the plan masks them (aggregation.masking)"
        raise UsageError(msg, hint="leave --review out; --without SITE leaves a site out")
    federation = party.ledger.in_force(number).record
    step = MaskedAggregation(
        party=party,
        number=number,
        base=base,
        layout=layout_of(base),
        without=request.without,
        below_quorum=request.below_quorum,
    ).advance()
    newest = party.ledger.rounds[-1].record
    if newest.round == number:
        open_next(party)
    received = step.received
    return AggregateResult(
        status=Status.WAITING if step.model is None else Status.PUBLISHED,
        message=step.message,
        round=number,
        rounds=federation.plan.rounds,
        used=tuple(sorted(received.records)),
        absent=received.absent,
        excused=received.excuses,
        rejected=received.rejections,
        late=newest.late if newest.round == number else (),
        deadline=open_deadline(party.ledger),
        global_model=step.model.sha256 if step.model is not None else None,
    )


def open_next(party: Party) -> None:
    """Open the round after the newest one, if its updates are to be masked and the masks of all members are there."""
    number, plan = party.ledger.newest_round + 1, party.plan
    if number <= plan.rounds and plan.aggregation.masking and read_opening(party.folder, number) is None:
        party.environment.progress.event(open_round(party, number, {}))


def void_round(party: Party, number: int, reason: str) -> AggregateResult:
    """End a masked round without a result: it has the model of the round before again, and names who is convicted."""
    newest = party.ledger.rounds[-1].record
    opened = party.store.stat(layout.opening(number)) is not None
    before = newest.restart
    if not opened and before is not None and (before.round, before.reason) == (newest.round - 1, visible(reason).strip()):
        return _voided(party, Status.DONE)  # an earlier run was killed after it had published
    if not opened:
        msg = f"round {number} is no masked round that is open, so there is none to end without a result"
        raise UsageError(msg, hint=f"to go back to the model of an earlier round: `{party.command('restart')}`")
    restart_open_round(party, number - 1, reason)
    return _voided(party, Status.PUBLISHED)


def _voided(party: Party, status: Status) -> AggregateResult:
    """Return what the newest round says, which is one without a result."""
    newest = party.ledger.rounds[-1]
    record, rounds = newest.record, party.ledger.in_force(newest.record.round).record.plan.rounds
    culprits = record.masked.culprits if record.masked is not None else ()
    message = f"round {record.round} of {rounds} is void: it has the model of round {record.round - 1} again"
    if culprits:
        message += f"; left out of the next round: {', '.join(f'{item.site} ({item.fault})' for item in culprits)}"
    return AggregateResult(
        status=status,
        message=message,
        round=record.round,
        rounds=rounds,
        absent=record.absent,
        rejected=record.rejected,
        late=record.late,
        deadline=open_deadline(party.ledger),
        global_model=newest.artifact.content_sha256,
    )

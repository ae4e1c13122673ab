"""The coordinator's part of a round: the server's lines of Algorithm 1.

verify each update → wait, or continue by the plan's quorum and deadline → compute φ(t) → review → publish.
In a region it publishes what was summed in place of φ(t), which comes from the federation above (`relay`).
Nothing is left out silently: every member is in the round record, as contributor, absent, or rejected with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.exchange.dates import LARGEST_SKEW
from fedcli.exchange.history.lineage import early_end
from fedcli.operations.aggregate.aggregate_result import AggregateRequest, AggregateResult
from fedcli.operations.aggregate.masked_round import masked_round, open_next, void_round
from fedcli.operations.aggregate.plain_round import PlainRound
from fedcli.party.aggregation_input import base_of, layout_of
from fedcli.party.party import Party
from fedcli.party.received_updates import receive_updates
from fedcli.party.tree.regional_sum import read_sum
from fedcli.results import Status
from fedcli.text.wording import duration
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from fedcli.environment import Environment


def aggregate(request: AggregateRequest, environment: Environment) -> AggregateResult:
    """Close the open round if its updates have arrived, or say who is awaited.

    Raises:
        TrustError: The coordinator's own records do not verify, or φ(t) would not be finite.
        UsageError: `without` names a site that is no member, or no masked round is open that could be ended.
    """
    with Party.at_work(request.root, WorkspaceRole.COORDINATOR, environment) as party:
        return _already_done(party, opens_next=request.void is None) or close_open_round(party, request)


def close_open_round(party: Party, request: AggregateRequest) -> AggregateResult:
    """Close the open round of a coordinator at work, or say who is awaited; `aggregate` says what is raised."""
    number, progress = party.ledger.newest_round + 1, party.environment.progress
    if (behind := party.ledger.rounds[-1].record.created - party.environment.clock()) > LARGEST_SKEW:
        progress.event(f"this machine's clock is {duration(behind.total_seconds())} behind the record of round {number - 1}")
    base = base_of(party.folder, number)
    federation = party.ledger.in_force(number).record
    if request.void is not None:
        return void_round(party, number, request.void)
    if federation.plan.aggregation.masking:
        return masked_round(party, number, base, request)
    if federation.plan.tree.above and (done := _already_summed(party, number)):
        return done
    closing = PlainRound(party, number, federation, base, layout_of(base), request.below_quorum)
    received = receive_updates(party, number, closing.federation, closing.layout, request.without)
    return closing.close(received, request.reviewer)


def _already_summed(party: Party, number: int) -> AggregateResult | None:
    """Return what a region has summed in its open round; None if it has summed nothing yet."""
    summed = read_sum(party.folder, number)
    if summed is None:
        return None
    record, rounds = summed.record, party.ledger.in_force(number).record.plan.rounds
    return AggregateResult(
        status=Status.PUBLISHED if f"sum-{number:04d}" in party.published else Status.WAITING,
        message=f"round {number} of {rounds} is summed; `{party.command('relay')}` sends the mean above, and takes the model",
        round=number,
        rounds=rounds,
        used=tuple(item.site for item in record.contributions),
        absent=record.absent,
        excused=record.excused,
        rejected=record.rejected,
    )


def _already_done(party: Party, *, opens_next: bool) -> AggregateResult | None:
    """Return what an earlier run has done; the next masked round is not opened by the run that ends one without a result.

    That command, run once more, would end the round that was opened.
    """
    ledger = party.ledger
    newest = ledger.rounds[-1].record if ledger.rounds else None
    rounds = ledger.newest_federation.plan.rounds
    if newest is None:
        return None
    if newest.round >= rounds:
        command = party.command("report", "--out", "report")
        message = f"{early_end(ledger.federations) or 'all rounds are done'}; next: the sites evaluate, then `{command}`"
        return AggregateResult(status=Status.FINISHED, message=message, round=newest.round, rounds=rounds)
    if f"round-{newest.round:04d}" in party.published and newest.round > 0:
        if opens_next:
            open_next(party)
        message = f"round {newest.round} is published; an earlier run had closed it"
        return AggregateResult(status=Status.PUBLISHED, message=message, round=newest.round, rounds=rounds)
    return None

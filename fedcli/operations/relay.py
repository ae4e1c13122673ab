"""A region's coordinator: between the region's sites and the federation above, of which the region is one site.

take the models that the federation above has published → sum the sites' updates of the open round → send their mean above.
Every step is found in one of the two drop folders once it is done, so the command goes on wherever it was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import ConfigurationError
from fedcli.exchange.history.lineage import early_end
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import close_open_round
from fedcli.party.membership import unlisted_in_words
from fedcli.party.party import Party
from fedcli.party.tree.regional_sum import read_sum
from fedcli.party.tree.relayed_models import require_one_tree, send_mean, take_models
from fedcli.results import Result, Status
from fedcli.text.wording import counted
from fedcli.workspace import Review, Workspace, WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayRequest:
    """Whose round to relay.

    Attributes:
        root: The workspace of the region's coordinator.
        above: The workspace of the region's site in the federation above; None takes `above` of the workspace's settings.
    """

    root: Path
    above: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayResult(Result):
    """What was passed on.

    Attributes:
        region: The region's name in the federation above.
        round: The open round, or the last one.
        rounds: All rounds of the region's plan.
        taken: Rounds whose model was taken from above by this command.
        used: Sites whose update has arrived, or was summed.
        absent: Sites that have sent nothing.
        sent: Whether the mean of the open round is published above.
    """

    region: str
    round: int
    rounds: int
    taken: tuple[int, ...] = ()
    used: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    sent: bool = False


def relay(request: RelayRequest, environment: Environment) -> RelayResult:
    """Do the next steps of a region, or say who is awaited.

    Raises:
        ConfigurationError: The workspace is no region's, or another region's.
        ApprovalError: The region's operator has not approved the plan above.
        UsageError: The region's steps are more than the plan above allows.
        TrustError: One of the two drop folders does not verify, or the federation above is not what it was.
    """
    above = request.above or Workspace.open(request.root, WorkspaceRole.COORDINATOR).above_path
    if above is None:
        msg = f"{request.root}: names no workspace of the federation above"
        raise ConfigurationError(msg, hint="name it with --above, or as `above` in workspace.toml")
    with (
        Party.at_work(request.root, WorkspaceRole.COORDINATOR, environment) as region,
        Party.at_work(above, WorkspaceRole.SITE, environment) as member,
    ):
        require_one_tree(region, member)
        taken = take_models(region, member)
        number, rounds = region.ledger.newest_round + 1, region.plan.rounds
        if number > rounds or number > member.plan.rounds:
            return _finished(region, member, taken)
        if reason := _reason_not_to_sum(region, member, number):
            return _result(region, member, taken, Status.WAITING, reason)
        if read_sum(region.folder, number) is None:
            summing = close_open_round(region, AggregateRequest(root=request.root))
            if summing.status is not Status.PUBLISHED:
                return _result(region, member, taken, Status.WAITING, summing.message, used=summing.used, absent=summing.absent)
        return _sent(region, member, taken, number)


def _reason_not_to_sum(region: Party, member: Party, number: int) -> str:
    """Return why the region cannot take part in the open round above, or an empty text."""
    federation = member.ledger.in_force(number).record
    if member.signer.verify_key.line not in {key.public_key for key in federation.keys_of(member.name)}:
        return unlisted_in_words(member)
    if member.name in federation.testers:
        return f"{member.name} is a tester in the federation above, and sends no updates"
    if not federation.plan.tree.regions:
        return "the plan above has no regions; its coordinator sets tree.regions = true"
    if member.workspace.settings.review is Review.ASK:
        msg = f'{member.workspace.root}: review = "ask" holds updates for a person, and a mean is sent as it is summed'
        command = region.command("aggregate", "--review")
        raise ConfigurationError(msg, hint=f'set review = "auto" there; `{command}` shows the figures before they are summed')
    return ""


def _sent(region: Party, member: Party, taken: tuple[int, ...], number: int) -> RelayResult:
    """Send the mean of the open round unless it is there; the sum is published."""
    summed = read_sum(region.folder, number)
    if summed is None:
        raise AssertionError(number)
    new = member.folder.update(member.name, number) is None
    if new:
        send_mean(region, member, summed)
    published = new or f"round-{number:04d}" in member.published
    used = tuple(item.site for item in summed.record.contributions)
    sent = f"{member.name} has sent the mean of {counted(len(used), 'site')} for round {number} of {member.plan.rounds}"
    message = f"{sent}; it is the turn of the coordinator above"
    status = Status.PUBLISHED if published else Status.WAITING
    return _result(region, member, taken, status, message, used=used, absent=summed.record.absent)


def _finished(region: Party, member: Party, taken: tuple[int, ...]) -> RelayResult:
    number, rounds, above = region.ledger.newest_round, region.plan.rounds, member.plan.rounds
    message = early_end(member.ledger.federations) or f"all {number} rounds are done"
    if rounds < above:
        message = f"the federation above has {above} rounds; `{region.command('amend', '--plan', 'PLAN')}` adds them here"
    elif rounds > above:
        command = region.command("amend", "--finish", "--reason", "TEXT")
        message = f"{message} above; `{command}` ends the region's {rounds} rounds"
    else:
        message = f"{message}; next: the region's sites evaluate, then `{region.command('report', '--out', 'report')}`"
    return _result(region, member, taken, Status.PUBLISHED if taken else Status.FINISHED, message)


def _result(
    region: Party,
    member: Party,
    taken: tuple[int, ...],
    status: Status,
    message: str,
    *,
    used: tuple[str, ...] = (),
    absent: tuple[str, ...] = (),
) -> RelayResult:
    if taken:
        rounds = f"round {taken[0]}" if len(taken) == 1 else f"rounds {taken[0]} to {taken[-1]}"
        message = f"the model of {rounds} is taken from above; {message}"
    number = region.ledger.newest_round + 1
    return RelayResult(
        status=Status.PUBLISHED if taken else status,
        message=message,
        region=member.name,
        round=min(number, region.plan.rounds),
        rounds=region.plan.rounds,
        taken=taken,
        used=used,
        absent=absent,
        sent=member.folder.update(member.name, number) is not None if number <= member.plan.rounds else False,
    )

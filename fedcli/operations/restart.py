"""The coordinator goes back to an earlier round: the next round record has that round's model and server state again.

It is a record like any other, without contributions. Updates of the open round are discarded, with the reason; the sites train
on. The chain stays linear, and a restart uses up one of the plan's rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcli.disk import Measured
from fedcli.errors import TrustError, UnreadableError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.overlay import Overlay
from fedcli.exchange.records import Restart, RoundRecord
from fedcli.exchange.tar import Tar
from fedcli.party.artifacts import Artifacts
from fedcli.party.party import Party, artifact_of, publication
from fedcli.party.received_updates import REASON_LIMIT, ReceivedUpdates, late_updates
from fedcli.results import Result, Status
from fedcli.text.visible_text import visible
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.outbox import Draft
    from fedcli.exchange.records import Artifact, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartRequest:
    """Where to go back to.

    Attributes:
        root: The coordinator's workspace.
        number: The earlier round.
        reason: Why; the round record states it.
        tars: Tars of artifacts that were moved out of the drop folder.
    """

    root: Path
    number: int
    reason: str
    tars: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartResult(Result):
    """The round that has the earlier model again.

    Attributes:
        round: Its number.
        rounds: All rounds of the plan.
        restarted_from: The earlier round.
        absent: Sites that had sent nothing.
        discarded: Sites whose update of the round is not used, with the reason.
        global_model: SHA-256 of the model.
    """

    round: int
    rounds: int
    restarted_from: int
    absent: tuple[str, ...]
    discarded: tuple[Rejected, ...]
    global_model: str


def restart(request: RestartRequest, environment: Environment) -> RestartResult:
    """Close the open round with the model of an earlier one.

    Raises:
        UsageError: There is no such round, no reason, or no round left.
        TrustError: The model or the server's state of that round is missing, or not what its record says.
    """
    with Party.at_work(request.root, WorkspaceRole.COORDINATOR, environment) as party:
        newest = party.ledger.rounds[-1].record
        if newest.restart is not None and newest.restart.round == request.number:
            status = Status.PUBLISHED if f"round-{newest.round:04d}" in party.published else Status.DONE
            return _result(party, status, request.number)
        reason = visible(request.reason).strip()
        _require_possible(party, request.number, reason)
        draft = party.outbox.draft(f"round-{newest.round + 1:04d}")
        files = _copies(party, request, draft)
        record = _record(party, Restart(round=request.number, reason=reason), _discarded(party, reason), files)
        party.commit(draft, publication(layout.round_record(record.round), record, *files))
        party.folder.artifacts.forget()
        party.folder.synchronise()
        return _result(party, Status.PUBLISHED, request.number)


def _require_possible(party: Party, number: int, reason: str) -> None:
    newest, plan = party.ledger.newest_round, party.plan
    if not 0 <= number <= newest:
        msg = f"--from {number}: expected 0 to {newest}, the newest round"
        raise UsageError(msg)
    if not 1 <= len(reason) <= REASON_LIMIT:
        msg = f"--reason: expected a text of at most {REASON_LIMIT} characters, which the round record states"
        raise UsageError(msg)
    if newest >= plan.rounds:
        msg = "all rounds of the plan are done, and a restart is a round"
        hint = f"set a larger `rounds` in the plan: `{party.command('amend', '--plan', 'PLAN')}`"
        raise UsageError(msg, hint=hint)


def _copies(party: Party, request: RestartRequest, draft: Draft) -> list[tuple[Artifact, Path]]:
    """Copy the artifacts of the earlier round into a draft: every round has files of its own, so that others can be archived."""
    earlier, key = party.ledger.rounds[request.number], layout.round_record(party.ledger.newest_round + 1)
    store = Overlay(party.store, *map(Tar, request.tars))
    artifacts = Artifacts(store, draft.folder / "fetched")
    files: list[tuple[Artifact, Path]] = []
    for artifact in earlier.artifacts:
        if store.stat(artifact.key) is None:
            msg = f"{artifact.key}: missing, expected by {earlier.key}"
            raise TrustError(msg, hint="if it was archived, `--with TAR` names the tar that has it")
        content = Measured(size=artifact.content_size, sha256=artifact.content_sha256)
        files.append((artifact_of(key, artifact.role, content), artifacts.fetch(earlier, artifact)))
    return files


def _discarded(party: Party, reason: str) -> ReceivedUpdates:
    """Return the members of the open round, each update that has arrived as rejected with the reason."""
    number = party.ledger.newest_round + 1
    members = party.ledger.in_force(number).record.members
    received = ReceivedUpdates(members=tuple(member.site for member in members))
    for site in received.members:
        try:
            if (update := party.folder.update(site, number)) is not None:
                received.records[site] = update
                received.reject(site, reason)
        except (TrustError, UnreadableError) as error:
            received.reject(site, str(error))
    return received


def _record(party: Party, restarted: Restart, received: ReceivedUpdates, files: list[tuple[Artifact, Path]]) -> RoundRecord:
    ledger, plan = party.ledger, party.plan
    number = ledger.newest_round + 1
    created, hours = party.environment.clock(), plan.aggregation.deadline_hours
    return RoundRecord(
        federation=ledger.identity,
        party=layout.COORDINATOR,
        created=created,
        versions=party.versions(),
        round=number,
        parent=ledger.rounds[-1].digest,
        federation_record=ledger.in_force(number).digest,
        rule=ledger.rounds[restarted.round].record.rule,
        absent=received.absent,
        rejected=received.rejections,
        late=late_updates(party, number),
        deadline=created + timedelta(hours=hours) if hours and number < plan.rounds else None,
        restart=restarted,
        artifacts=tuple(artifact for artifact, _ in files),
    )


def _result(party: Party, status: Status, earlier: int) -> RestartResult:
    verified, rounds = party.ledger.rounds[-1], party.plan.rounds
    record = verified.record
    message = f"round {record.round} of {rounds} has the model of round {earlier} again"
    if sites := [item.site for item in record.rejected]:
        message += f"; the updates of {', '.join(sites)} for it are discarded"
    last = record.round == rounds
    message += "; it is the last round: a larger `rounds` in the plan adds more" if last else "; the sites train on from it"
    return RestartResult(
        status=status,
        message=message,
        round=record.round,
        rounds=rounds,
        restarted_from=earlier,
        absent=record.absent,
        discarded=record.rejected,
        global_model=verified.artifact.content_sha256,
    )

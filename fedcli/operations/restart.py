"""The coordinator goes back to an earlier round: the next round record has that round's model and server state again.

It is a record like any other, without contributions. Updates of the open round are discarded, with the reason; the sites train
on. The chain stays linear, and a restart uses up one of the plan's rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.disk import Measured
from fedcli.errors import TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.overlay import Overlay
from fedcli.exchange.records import Restart
from fedcli.exchange.tar import Tar
from fedcli.party.masking.unmask_answers import evidence
from fedcli.party.party import Party
from fedcli.party.received_updates import REASON_LIMIT, discarded_updates
from fedcli.party.round_closing import close_round
from fedcli.party.transfer.artifacts import Artifacts
from fedcli.party.transfer.outgoing import ArtifactFile
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
        restart_open_round(party, request.number, request.reason, request.tars)
        return _result(party, Status.PUBLISHED, request.number)


def restart_open_round(party: Party, number: int, reason: str, tars: tuple[Path, ...] = ()) -> None:
    """Close the open round with the model of an earlier one; of a masked round, name whom its answers convict.

    Args:
        party: The coordinator.
        number: The earlier round.
        reason: Why; the round record states it.
        tars: Tars of artifacts that were moved out of the drop folder.

    Raises:
        UsageError: There is no such round, no reason, or no round left.
        TrustError: The model or the server's state of that round is missing, or not what its record says.
    """
    reason, opened = visible(reason).strip(), party.ledger.newest_round + 1
    _require_possible(party, number, reason)
    draft = party.outbox.draft(f"round-{opened:04d}")
    files, restarted = _copies(party, number, tars, draft), Restart(round=number, reason=reason)
    close_round(party, draft, discarded_updates(party, reason), files, restart=restarted, masked=evidence(party, opened))


def _require_possible(party: Party, number: int, reason: str) -> None:
    newest, plan = party.ledger.newest_round, party.plan
    if plan.tree.above:
        msg = "this federation is a region, whose models come from the federation above"
        raise UsageError(msg, hint="ask the coordinator above to restart: the region's round then is a restart too")
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


def _copies(party: Party, number: int, tars: tuple[Path, ...], draft: Draft) -> list[tuple[Artifact, Path]]:
    """Copy the artifacts of the earlier round into a draft: every round has files of its own, so that others can be archived."""
    earlier, key = party.ledger.rounds[number], layout.round_record(party.ledger.newest_round + 1)
    store = Overlay(party.store, *map(Tar, tars))
    artifacts = Artifacts(store, draft.folder / "fetched", party.folder.opening)
    federation = party.ledger.in_force(party.ledger.newest_round + 1).record
    files: list[tuple[Artifact, Path]] = []
    for artifact in earlier.artifacts:
        if store.stat(artifact.key) is None:
            msg = f"{artifact.key}: missing, expected by {earlier.key}"
            raise TrustError(msg, hint="if it was archived, `--with TAR` names the tar that has it")
        content = Measured(size=artifact.content_size, sha256=artifact.content_sha256)
        file = ArtifactFile(role=artifact.role, path=artifacts.fetch(earlier, artifact), content=content)
        files.append(party.artifact(file, key, federation))
    return files


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

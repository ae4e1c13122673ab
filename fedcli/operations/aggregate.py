"""The coordinator's part of a round: the server's lines of Algorithm 1.

list → verify each update → name absentees and rejects → wait, or go on by the plan's quorum and deadline → φ(t) → publish.
Nothing is silently left out: every member stands in the round record, as contributor, absentee, or rejected with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcli import tensors
from fedcli.aggregation.mean import NotFiniteError, Update, weighted_mean
from fedcli.errors import TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.records import Contribution, Late, Rejected, Role, RoundRecord
from fedcli.operations.party import Party, Status, artifact_of, parcel
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import FederationRecord, UpdateRecord
    from fedcli.operations.party import Environment
    from fedcli.tensors import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateResult:
    """How the open round stands, or stood when it was closed.

    Attributes:
        round: The round that the command was about.
        rounds: All rounds of the plan.
        used: Sites whose update is in, or was used.
        absent: Sites that have sent nothing.
        rejected: Sites whose update was refused, with the reason.
        late: Sites whose update of an earlier round has come since the last round record.
        deadline: When the round may be closed with a quorum.
        global_model: SHA-256 of φ(t) where it was published.
    """

    status: Status
    message: str
    round: int
    rounds: int
    used: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    late: tuple[Late, ...] = ()
    deadline: datetime | None = None
    global_model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Intake:
    """What the sites have sent for one round: verified updates with their files, and the refused ones."""

    valid: dict[str, tuple[Verified[UpdateRecord], Path]]
    rejected: dict[str, Rejected]
    members: tuple[str, ...]

    @property
    def absent(self) -> tuple[str, ...]:
        return tuple(site for site in self.members if site not in self.valid and site not in self.rejected)

    @property
    def summary(self) -> str:
        """`5 of 7 sites; absent: …; rejected: … (reason)`."""
        text = f"{len(self.valid)} of {len(self.members)} sites"
        if self.absent:
            text += f"; absent: {', '.join(self.absent)}"
        if self.rejected:
            text += "; rejected: " + ", ".join(f"{site} ({item.reason})" for site, item in sorted(self.rejected.items()))
        return text


def aggregate(root: Path, environment: Environment, *, without: Mapping[str, str] | None = None) -> AggregateResult:
    """Close the open round if its updates are in, or say who is awaited.

    Args:
        root: The coordinator's workspace.
        environment: Clock, progress, passphrase.
        without: Sites to go on without in this round, each with the reason, which the round record states.

    Raises:
        TrustError: The coordinator's own records do not verify, or φ(t) would not be finite.
        UsageError: `without` names no member, or nobody would be left.
    """
    party = Party.open(root, WorkspaceRole.COORDINATOR, environment)
    with party.workspace.locked():
        sent = party.finish_outbox()
        party.folder.synchronise()
        ledger = party.folder.ledger
        if done := _already_done(party, sent):
            return done
        number = ledger.newest_round + 1
        federation = ledger.in_force(number).record
        base = party.folder.global_model(number - 1)
        intake = _take_in(party, number, federation, base, without or {})
        while not (reason := _reason_to_wait(party, federation, intake, without or {})):
            try:
                return _publish(party, number, federation, base, intake)
            except NotFiniteError as error:
                found, _ = intake.valid.pop(error.site)
                intake.rejected[error.site] = Rejected(site=error.site, update=found.digest, reason=str(error))
        return _outcome(party, number, federation, intake, Status.WAITING, f"round {number}: {intake.summary}; {reason}")


def _already_done(party: Party, sent: tuple[str, ...]) -> AggregateResult | None:
    ledger = party.folder.ledger
    newest = ledger.rounds[-1].record if ledger.rounds else None
    rounds = ledger.newest_federation.plan.rounds
    if newest is None:
        return None
    if newest.round >= rounds:
        message = f"all {rounds} rounds are done; next: the sites evaluate, then fedcli report"
        return AggregateResult(status=Status.FINISHED, message=message, round=newest.round, rounds=rounds)
    if f"round-{newest.round:04d}" in sent and newest.round > 0:
        message = f"round {newest.round} is published; it had been aggregated before"
        return AggregateResult(status=Status.PUBLISHED, message=message, round=newest.round, rounds=rounds)
    return None


def _take_in(party: Party, number: int, federation: FederationRecord, base: Path, without: Mapping[str, str]) -> _Intake:
    """Verify every member's update and make a private copy of its delta."""
    members = tuple(member.site for member in federation.members)
    if unknown := sorted(set(without) - set(members)):
        msg = f"round {number}: {', '.join(unknown)} cannot be left out, expected one of {', '.join(members)}"
        raise UsageError(msg)
    with base.open("rb") as file:
        expected = tensors.read_layout(file)
    intake = _Intake(valid={}, rejected={}, members=members)
    with party.environment.progress.track(f"round {number}: verifying updates", len(members), "sites") as advance:
        for site in members:
            if site in without:
                intake.rejected[site] = Rejected(site=site, update=None, reason=without[site])
            else:
                _take_in_one(party, number, site, expected, intake)
            advance(1, "")
    return intake


def _take_in_one(party: Party, number: int, site: str, expected: Layout, intake: _Intake) -> None:
    try:
        found = party.folder.update(site, number)
        if found is not None:
            intake.valid[site] = (found, party.folder.fetch(found, found.artifact, expected))
    except TrustError as error:
        intake.rejected[site] = Rejected(site=site, update=None, reason=str(error)[:2000])
        party.environment.progress.event(f"round {number}: {site} is rejected: {error}")


def _reason_to_wait(party: Party, federation: FederationRecord, intake: _Intake, without: Mapping[str, str]) -> str:
    """Return why the round stays open, or an empty text."""
    if not intake.valid:
        return "nothing to aggregate yet" if intake.members else "no site is admitted yet: fedcli admit SITE"
    awaited = [site for site in intake.members if site not in intake.valid and site not in without]

    deadline = party.folder.ledger.rounds[-1].record.deadline
    quorum = federation.plan.aggregation.quorum
    if not awaited:
        return ""
    advice = f"to go on without: fedcli aggregate --without {awaited[0]} --reason TEXT"
    if deadline is None:
        return f"waiting for all; {advice}"
    if party.environment.clock() < deadline:
        return f"waiting for all until {deadline:%Y-%m-%d %H:%M} UTC, then for {quorum}"
    return f"the deadline has passed; waiting for at least {quorum}; {advice}" if len(intake.valid) < quorum else ""


def _publish(party: Party, number: int, federation: FederationRecord, base: Path, intake: _Intake) -> AggregateResult:
    """Compute φ(t) and publish the round record."""
    draft = party.outbox.draft(f"round-{number:04d}")
    updates = [Update(site=site, path=path, weight=found.record.steps) for site, (found, path) in intake.valid.items()]
    measured = weighted_mean(base, updates, draft.folder / "model")
    key = layout.round_record(number)
    artifact = artifact_of(key, Role.MODEL, measured)
    hours = federation.plan.aggregation.deadline_hours
    created = party.environment.clock()
    ledger = party.folder.ledger
    record = RoundRecord(
        federation=ledger.identity,
        party=layout.COORDINATOR,
        created=created,
        versions=party.versions(),
        round=number,
        parent=ledger.rounds[-1].digest,
        federation_record=ledger.in_force(number).digest,
        contributions=tuple(_contribution(found) for _, (found, _) in sorted(intake.valid.items())),
        absent=intake.absent,
        rejected=tuple(item for _, item in sorted(intake.rejected.items())),
        late=_late(party, number),
        deadline=created + timedelta(hours=hours) if hours and number < federation.plan.rounds else None,
        artifacts=(artifact,),
    )
    party.seal(draft, parcel(key, record, (artifact, draft.folder / "model")))
    party.folder.forget_artifacts()
    party.folder.synchronise()
    message = f"round {number} of {federation.plan.rounds} is published: {intake.summary}"
    return _outcome(party, number, federation, intake, Status.PUBLISHED, message, measured.sha256)


def _contribution(found: Verified[UpdateRecord]) -> Contribution:
    record = found.record
    return Contribution(
        site=record.party,
        update=found.digest,
        steps=record.steps,
        images=record.images,
        patients=record.patients,
        weight=record.steps,
    )


def _late(party: Party, number: int) -> tuple[Late, ...]:
    """Return the valid updates of earlier rounds that were missing then and have not been named since."""
    ledger = party.folder.ledger
    named = {(item.site, item.round) for found in ledger.rounds for item in found.record.late}
    found: list[Late] = []
    for earlier in ledger.rounds[1:number]:
        for site in (*earlier.record.absent, *(item.site for item in earlier.record.rejected if item.update is None)):
            if (site, earlier.record.round) in named:
                continue
            try:
                update = party.folder.update(site, earlier.record.round)
            except TrustError as error:
                party.environment.progress.event(f"round {earlier.record.round}: late file of {site} is rejected: {error}")
                continue
            if update is not None:
                found.append(Late(site=site, round=earlier.record.round, update=update.digest))
    return tuple(sorted(found, key=lambda item: (item.site, item.round)))


def _outcome(
    party: Party,
    number: int,
    federation: FederationRecord,
    intake: _Intake,
    status: Status,
    message: str,
    global_model: str | None = None,
) -> AggregateResult:
    newest = party.folder.ledger.rounds[-1].record
    return AggregateResult(
        status=status,
        message=message,
        round=number,
        rounds=federation.plan.rounds,
        used=tuple(sorted(intake.valid)),
        absent=intake.absent,
        rejected=tuple(item for _, item in sorted(intake.rejected.items())),
        late=newest.late if newest.round == number else (),
        deadline=newest.deadline,
        global_model=global_model,
    )

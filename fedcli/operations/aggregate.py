"""The coordinator's part of a round: the server's lines of Algorithm 1.

list → verify each update → name absentees and rejects → wait, or go on by the plan's quorum and deadline → φ(t) → review
→ publish.
Nothing is silently left out: every member stands in the round record, as contributor, absentee, or rejected with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcli.aggregation.fold import StateFiles, fold
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.update import UpdateError
from fedcli.exchange import layout
from fedcli.exchange.records import Contribution, Late, Rejected, Role, RoundRecord
from fedcli.party.folding import base_of, layout_of, num_threads, state_before
from fedcli.party.intake import Intake, late_updates, open_deadline, take_in
from fedcli.party.party import Party, artifact_of, publication
from fedcli.party.update_review import SiteReview, review
from fedcli.results import Result, Status
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from fedcli.aggregation.fold import Folded
    from fedcli.aggregation.update import Update
    from fedcli.environment import Environment
    from fedcli.exchange.outbox import Draft
    from fedcli.exchange.records import FederationRecord
    from fedcli.party.update_review import Reviewer
    from fedcli.tensors import Layout

_MODEL = "model"
_STATE = "server_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateResult(Result):
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
        review: Each used site's figures, where φ(t) was computed.
    """

    round: int
    rounds: int
    used: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    late: tuple[Late, ...] = ()
    deadline: datetime | None = None
    global_model: str | None = None
    review: tuple[SiteReview, ...] = ()


def aggregate(
    root: Path, environment: Environment, *, without: Mapping[str, str] | None = None, reviewer: Reviewer | None = None
) -> AggregateResult:
    """Close the open round if its updates are in, or say who is awaited.

    Args:
        root: The coordinator's workspace.
        environment: Clock, progress, passphrase.
        without: Sites to go on without in this round, each with the reason, which the round record states.
        reviewer: Looks at the updates before anything is published; None publishes.

    Raises:
        TrustError: The coordinator's own records do not verify, or φ(t) would not be finite.
        UsageError: `without` names no member.
    """
    with Party.at_work(root, WorkspaceRole.COORDINATOR, environment) as party:
        ledger = party.ledger
        if done := _already_done(party):
            return done
        number = ledger.newest_round + 1
        base = base_of(party.folder, number)
        closing = _Closing(party, number, ledger.in_force(number).record, base, layout_of(base))
        return closing.close(take_in(party, number, closing.federation, closing.layout, without or {}), reviewer)


def _already_done(party: Party) -> AggregateResult | None:
    ledger = party.ledger
    newest = ledger.rounds[-1].record if ledger.rounds else None
    rounds = ledger.newest_federation.plan.rounds
    if newest is None:
        return None
    if newest.round >= rounds:
        message = f"all {rounds} rounds are done; next: the sites evaluate, then fedcli report"
        return AggregateResult(status=Status.FINISHED, message=message, round=newest.round, rounds=rounds)
    if f"round-{newest.round:04d}" in party.published and newest.round > 0:
        message = f"round {newest.round} is published; it had been aggregated before"
        return AggregateResult(status=Status.PUBLISHED, message=message, round=newest.round, rounds=rounds)
    return None


@dataclass(frozen=True, slots=True)
class _Closing:
    """The open round of a coordinator, on its way to its record."""

    party: Party
    number: int
    federation: FederationRecord
    base: Update
    layout: Layout

    def close(self, intake: Intake, reviewer: Reviewer | None) -> AggregateResult:
        """Fold, review and publish; after a rejection, begin again with what remains."""
        settings = self.federation.plan.aggregation
        deadline = open_deadline(self.party.ledger)
        figures: tuple[SiteReview, ...] = ()
        while not (reason := intake.reason_to_wait(settings, deadline, self.party.environment.clock())):
            draft = self.party.outbox.draft(f"round-{self.number:04d}")
            try:
                folded = self._fold(intake, draft)
            except UpdateError as error:
                if layout.COORDINATOR in error.reasons:
                    raise
                for site, why in error.reasons.items():
                    intake.reject(site, why)
                    self.party.environment.progress.event(f"round {self.number}: {site} is rejected: {why}")
                continue
            figures = review(intake.records, folded.shares, self.party.environment.clock())
            for figure in figures:
                if figure.odd:
                    self.party.environment.progress.event(f"round {self.number}: look at {figure.site}: {'; '.join(figure.odd)}")
            verdict = reviewer(self.number, figures) if reviewer is not None else None
            if verdict is None or (verdict.publish and not verdict.rejected):
                return self._publish(intake, draft, folded, figures)
            for site, why in verdict.rejected:
                intake.reject(site, why, excused=True)
            if not verdict.publish:
                reason = "reviewed, not published: fedcli aggregate --review asks on a terminal, with --yes it publishes"
                break
        message = f"round {self.number}: {intake.summary}; {reason}"
        return self._outcome(intake, Status.WAITING, message, figures)

    def _fold(self, intake: Intake, draft: Draft) -> Folded:
        settings = self.federation.plan.aggregation
        rule = rule_of(settings)
        updates = list(intake.updates.values())
        state = None
        if rule.server is not None:
            before = state_before(self.party.folder, self.number, settings, self.layout)
            state = StateFiles(before=before, target=draft.folder / _STATE)
        label = f"round {self.number}: aggregating {len(updates)} updates"
        with self.party.environment.progress.track(label, 1, "models") as advance:
            target = draft.folder / _MODEL
            folded = fold(rule, self.layout, self.base, updates, target, state=state, threads=num_threads())
            advance(1, "")
        return folded

    def _publish(self, intake: Intake, draft: Draft, folded: Folded, figures: tuple[SiteReview, ...]) -> AggregateResult:
        """Publish φ(t) and the round record."""
        plan, ledger = self.federation.plan, self.party.ledger
        key = layout.round_record(self.number)
        files = [(artifact_of(key, Role.MODEL, folded.model), draft.folder / _MODEL)]
        if folded.state is not None:
            files.append((artifact_of(key, Role.SERVER_STATE, folded.state), draft.folder / _STATE))
        hours = plan.aggregation.deadline_hours
        created = self.party.environment.clock()
        record = RoundRecord(
            federation=ledger.identity,
            party=layout.COORDINATOR,
            created=created,
            versions=self.party.versions(),
            round=self.number,
            parent=ledger.rounds[-1].digest,
            federation_record=ledger.in_force(self.number).digest,
            rule=plan.aggregation.rule,
            contributions=_contributions(intake, folded),
            absent=intake.absent,
            rejected=intake.refusals,
            late=late_updates(self.party, self.number),
            deadline=created + timedelta(hours=hours) if hours and self.number < plan.rounds else None,
            artifacts=tuple(artifact for artifact, _ in files),
        )
        self.party.commit(draft, publication(key, record, *files))
        self.party.folder.artifacts.forget()
        self.party.folder.synchronise()
        message = f"round {self.number} of {plan.rounds} is published: {intake.summary}"
        return self._outcome(intake, Status.PUBLISHED, message, figures, folded.model.sha256)

    def _outcome(
        self,
        intake: Intake,
        status: Status,
        message: str,
        figures: tuple[SiteReview, ...],
        global_model: str | None = None,
    ) -> AggregateResult:
        newest = self.party.ledger.rounds[-1].record
        return AggregateResult(
            status=status,
            message=message,
            round=self.number,
            rounds=self.federation.plan.rounds,
            used=tuple(sorted(intake.records)),
            absent=intake.absent,
            rejected=intake.refusals,
            late=newest.late if newest.round == self.number else (),
            deadline=open_deadline(self.party.ledger),
            global_model=global_model,
            review=figures,
        )


def _contributions(intake: Intake, folded: Folded) -> tuple[Contribution, ...]:
    found = []
    for share in folded.shares:
        update = intake.records[share.site]
        found.append(
            Contribution(
                site=share.site,
                update=update.digest,
                steps=update.record.steps,
                images=update.record.images,
                patients=update.record.patients,
                weight=share.weight,
                norm=share.norm,
                cosine=share.cosine,
            )
        )
    return tuple(found)

"""The coordinator's part of a round: the server's lines of Algorithm 1.

verify each update → wait, or continue by the plan's quorum and deadline → compute φ(t) → review → publish.
Nothing is left out silently: every member is in the round record, as contributor, absent, or rejected with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcli.aggregation.fold import StateFiles, fold
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.update import UpdateError
from fedcli.exchange import layout
from fedcli.exchange.dates import LARGEST_SKEW
from fedcli.exchange.records import Contribution, Excused, Late, Rejected, Role, RoundRecord
from fedcli.party.aggregation_input import base_of, layout_of, num_threads, state_before
from fedcli.party.party import Party, artifact_of, publication
from fedcli.party.received_updates import ReceivedUpdates, late_updates, open_deadline, receive_updates
from fedcli.party.update_review import SiteReview, review
from fedcli.results import Result, Status
from fedcli.text.wording import duration
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from fedcli.aggregation.fold import Folded
    from fedcli.aggregation.update import Update
    from fedcli.environment import Environment
    from fedcli.exchange.outbox import Draft
    from fedcli.exchange.records import FederationRecord
    from fedcli.party.update_review import RoundReviewer
    from fedcli.tensors import Layout

_MODEL = "model"
_STATE = "server_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateRequest:
    """How to close the open round.

    Attributes:
        root: The coordinator's workspace.
        without: Sites to leave out of this round, each with the reason, which the round record states.
        reviewer: Reviews the updates before anything is published; None publishes.
        below_quorum: Whether the round may be closed without them though fewer updates than the plan's quorum are left.
    """

    root: Path
    without: Mapping[str, str] = field(default_factory=dict)
    below_quorum: bool = False
    reviewer: RoundReviewer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateResult(Result):
    """The open round, or the one that was closed.

    Attributes:
        round: The round that the command was about.
        rounds: All rounds of the plan.
        used: Sites whose update has arrived, or was used.
        absent: Sites that have sent nothing.
        excused: Sites that have sent nothing and are left out, with the reason.
        rejected: Sites whose update was rejected, with the reason.
        late: Sites whose update of an earlier round has arrived since the last round record.
        deadline: When the round may be closed with a quorum.
        global_model: SHA-256 of φ(t) if it was published.
        review: Each used site's figures, if φ(t) was computed.
    """

    round: int
    rounds: int
    used: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    excused: tuple[Excused, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    late: tuple[Late, ...] = ()
    deadline: datetime | None = None
    global_model: str | None = None
    review: tuple[SiteReview, ...] = ()


def aggregate(request: AggregateRequest, environment: Environment) -> AggregateResult:
    """Close the open round if its updates have arrived, or say who is awaited.

    Raises:
        TrustError: The coordinator's own records do not verify, or φ(t) would not be finite.
        UsageError: `without` names a site that is no member.
    """
    with Party.at_work(request.root, WorkspaceRole.COORDINATOR, environment) as party:
        if done := _already_done(party):
            return done
        number = party.ledger.newest_round + 1
        if (behind := party.ledger.rounds[-1].record.created - environment.clock()) > LARGEST_SKEW:
            environment.progress.event(
                f"this machine's clock is {duration(behind.total_seconds())} behind the record of round {number - 1}"
            )
        base = base_of(party.folder, number)
        federation = party.ledger.in_force(number).record
        closing = _RoundClosing(party, number, federation, base, layout_of(base), request.below_quorum)
        received = receive_updates(party, number, closing.federation, closing.layout, request.without)
        return closing.close(received, request.reviewer)


def _already_done(party: Party) -> AggregateResult | None:
    ledger = party.ledger
    newest = ledger.rounds[-1].record if ledger.rounds else None
    rounds = ledger.newest_federation.plan.rounds
    if newest is None:
        return None
    if newest.round >= rounds:
        command = party.command("report", "--out", "report")
        message = f"all rounds are done; next: the sites evaluate, then `{command}`"
        return AggregateResult(status=Status.FINISHED, message=message, round=newest.round, rounds=rounds)
    if f"round-{newest.round:04d}" in party.published and newest.round > 0:
        message = f"round {newest.round} is published; an earlier run had closed it"
        return AggregateResult(status=Status.PUBLISHED, message=message, round=newest.round, rounds=rounds)
    return None


@dataclass(frozen=True, slots=True)
class _RoundClosing:
    """What closes the open round and writes its record."""

    party: Party
    number: int
    federation: FederationRecord
    base: Update
    layout: Layout
    below_quorum: bool

    def close(self, received: ReceivedUpdates, reviewer: RoundReviewer | None) -> AggregateResult:
        """Aggregate, review and publish; after a rejection, start again with the remaining updates."""
        figures: tuple[SiteReview, ...] = ()
        while not (reason := self._reason_to_wait(received)):
            draft = self.party.outbox.draft(f"round-{self.number:04d}")
            folded = self._fold_or_reject(received, draft)
            if folded is None:
                continue
            figures = review(received, folded.shares, self.federation.plan, self.party.environment.clock())
            for figure in figures:
                if figure.odd:
                    self._tell(f"look at {figure.site}: {'; '.join(figure.odd)}")
            verdict = reviewer(self.number, figures) if reviewer is not None else None
            if verdict is None or (verdict.publish and not verdict.rejected):
                return self._publish(received, draft, folded, figures)
            for site, why in verdict.rejected:
                received.reject(site, why, left_out=True)
            if not verdict.publish:
                command = self.party.command("aggregate", "--review")
                reason = f"reviewed, not published: `{command}` asks on a terminal, and with --yes it publishes"
                break
        message = f"round {self.number}: {received.summary}; {reason}"
        return self._result(received, Status.WAITING, message, figures)

    def _reason_to_wait(self, received: ReceivedUpdates) -> str:
        return received.reason_to_wait(
            self.federation.plan.aggregation,
            open_deadline(self.party.ledger),
            self.party.environment.clock(),
            self.party.workspace.root,
            below_quorum=self.below_quorum,
        )

    def _fold_or_reject(self, received: ReceivedUpdates, draft: Draft) -> Folded | None:
        """Fold the updates; None if some of them must not be used, or others again, and there is to be another fold."""
        try:
            folded = self._fold(received, draft)
            changed: Iterable[str] = received.limit_norms(self.federation.plan.limits, folded)
        except UpdateError as error:
            if layout.COORDINATOR in error.reasons:
                raise
            for site, why in error.reasons.items():
                received.reject(site, why)
            changed = error.reasons
        self._tell_rejected(received, changed)
        return None if changed else folded

    def _tell_rejected(self, received: ReceivedUpdates, sites: Iterable[str]) -> None:
        for site in sites:
            if item := received.rejected.get(site):
                self._tell(f"{site} is rejected: {item.reason}")

    def _tell(self, text: str) -> None:
        self.party.environment.progress.event(f"round {self.number}: {text}")

    def _fold(self, received: ReceivedUpdates, draft: Draft) -> Folded:
        settings = self.federation.plan.aggregation
        rule = rule_of(settings)
        updates = list(received.updates.values())
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

    def _publish(
        self, received: ReceivedUpdates, draft: Draft, folded: Folded, figures: tuple[SiteReview, ...]
    ) -> AggregateResult:
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
            contributions=_contributions(received, folded, stated=plan.limits.limit_norms),
            absent=received.absent,
            excused=received.excuses,
            rejected=received.rejections,
            late=late_updates(self.party, self.number),
            base_norm=folded.base_norm if plan.limits.limit_norms else None,
            deadline=created + timedelta(hours=hours) if hours and self.number < plan.rounds else None,
            artifacts=tuple(artifact for artifact, _ in files),
        )
        self.party.commit(draft, publication(key, record, *files))
        self.party.folder.artifacts.forget()
        self.party.folder.synchronise()
        message = f"round {self.number} of {plan.rounds} is published: {received.summary}"
        if len(received.records) < plan.aggregation.quorum:
            message += f"; below the plan's quorum of {plan.aggregation.quorum}"
        return self._result(received, Status.PUBLISHED, message, figures, folded.model.sha256)

    def _result(
        self,
        received: ReceivedUpdates,
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
            used=tuple(sorted(received.records)),
            absent=received.absent,
            excused=received.excuses,
            rejected=received.rejections,
            late=newest.late if newest.round == self.number else (),
            deadline=open_deadline(self.party.ledger),
            global_model=global_model,
            review=figures,
        )


def _contributions(received: ReceivedUpdates, folded: Folded, *, stated: bool) -> tuple[Contribution, ...]:
    contributions = []
    for share in folded.shares:
        update = received.records[share.site]
        contributions.append(
            Contribution(
                site=share.site,
                update=update.digest,
                steps=update.record.steps,
                images=update.record.images,
                patients=update.record.patients,
                weight=share.weight,
                norm=share.norm,
                cosine=share.cosine,
                trained_norm=share.trained_norm if stated else None,
            )
        )
    return tuple(contributions)

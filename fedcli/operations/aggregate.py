"""The coordinator's part of a round: the server's lines of Algorithm 1.

verify each update → wait, or continue by the plan's quorum and deadline → compute φ(t) → review → publish.
In a region it publishes what was summed in place of φ(t), which comes from the federation above (`relay`).
Nothing is left out silently: every member is in the round record, as contributor, absent, or rejected with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcli.aggregation.fold import StateFiles, fold
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.update import UpdateError
from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.exchange.dates import LARGEST_SKEW, expected_end
from fedcli.exchange.lineage import early_end
from fedcli.exchange.records import Contribution, Excused, Late, Rejected, Role
from fedcli.operations.restart import restart_open_round
from fedcli.party.aggregation_input import base_of, layout_of, num_threads, state_before
from fedcli.party.masking.masked_aggregation import MaskedAggregation, open_round
from fedcli.party.masking.masking_files import read_opening
from fedcli.party.party import Party
from fedcli.party.received_updates import ReceivedUpdates, receive_updates
from fedcli.party.round_closing import close_round, open_deadline
from fedcli.party.transfer.outgoing import ArtifactFile
from fedcli.party.tree.regional_sum import mean_of, publish_sum, read_sum
from fedcli.party.update_review import SiteReview, review
from fedcli.results import Result, Status
from fedcli.text.visible_text import visible
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
_SOON = timedelta(hours=1)
"""An end that is nearer is not foretold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateRequest:
    """How to close the open round.

    Attributes:
        root: The coordinator's workspace.
        without: Sites to leave out of this round, each with the reason, which the round record states.
        reviewer: Reviews the updates before anything is published; None publishes.
        below_quorum: Whether the round may be closed without them though fewer updates than the plan's quorum are left.
        void: Why a masked round is ended without a result; None does not.
    """

    root: Path
    without: Mapping[str, str] = field(default_factory=dict)
    below_quorum: bool = False
    void: str | None = None
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
        UsageError: `without` names a site that is no member, or no masked round is open that could be ended.
    """
    with Party.at_work(request.root, WorkspaceRole.COORDINATOR, environment) as party:
        return _already_done(party) or close_open_round(party, request)


def close_open_round(party: Party, request: AggregateRequest) -> AggregateResult:
    """Close the open round of a coordinator at work, or say who is awaited; `aggregate` says what is raised."""
    number, progress = party.ledger.newest_round + 1, party.environment.progress
    if (behind := party.ledger.rounds[-1].record.created - party.environment.clock()) > LARGEST_SKEW:
        progress.event(f"this machine's clock is {duration(behind.total_seconds())} behind the record of round {number - 1}")
    base = base_of(party.folder, number)
    federation = party.ledger.in_force(number).record
    if request.void is not None:
        return _void(party, number, request.void)
    if federation.plan.aggregation.masking:
        return _masked(party, number, base, request)
    if federation.plan.tree.above and (done := _already_summed(party, number)):
        return done
    closing = _RoundClosing(party, number, federation, base, layout_of(base), request.below_quorum)
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


def _masked(party: Party, number: int, base: Update, request: AggregateRequest) -> AggregateResult:
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
        _open_next(party)
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


def _open_next(party: Party) -> None:
    """Open the round after the newest one, if its updates are to be masked and the masks of all members are there."""
    number, plan = party.ledger.newest_round + 1, party.plan
    if number <= plan.rounds and plan.aggregation.masking and read_opening(party.folder, number) is None:
        party.environment.progress.event(open_round(party, number, {}))


def _void(party: Party, number: int, reason: str) -> AggregateResult:
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


def _already_done(party: Party) -> AggregateResult | None:
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
        _open_next(party)
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

    @property
    def is_region(self) -> bool:
        """Whether the model of the round comes from the federation above."""
        return bool(self.federation.plan.tree.above)

    def close(self, received: ReceivedUpdates, reviewer: RoundReviewer | None) -> AggregateResult:
        """Aggregate, review and publish; after a rejection, start again with the remaining updates."""
        figures: tuple[SiteReview, ...] = ()
        while not (reason := self._reason_to_wait(received)):
            draft = self.party.outbox.draft(f"{'sum' if self.is_region else 'round'}-{self.number:04d}")
            folded = self._fold_or_reject(received, draft)
            if folded is None:
                continue
            figures = review(received, folded.shares, self.federation.plan, self.party.environment.clock())
            for figure in figures:
                if figure.odd:
                    self._tell(f"look at {figure.site}: {'; '.join(figure.odd)}")
            verdict = reviewer(self.number, figures) if reviewer is not None else None
            if verdict is None or (verdict.publish and not verdict.rejected):
                publish = self._publish_sum if self.is_region else self._publish
                return publish(received, draft, folded, figures)
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
            target = None if self.is_region else draft.folder / _MODEL
            folded = fold(rule, self.layout, self.base, updates, target, state=state, threads=num_threads())
            advance(1, "")
        return folded

    def _publish(
        self, received: ReceivedUpdates, draft: Draft, folded: Folded, figures: tuple[SiteReview, ...]
    ) -> AggregateResult:
        """Publish φ(t) and the round record."""
        plan, key = self.federation.plan, layout.round_record(self.number)
        files = [ArtifactFile(role=Role.MODEL, path=draft.folder / _MODEL, content=folded.model)]
        if folded.state is not None:
            files.append(ArtifactFile(role=Role.SERVER_STATE, path=draft.folder / _STATE, content=folded.state))
        stated = plan.limits.limit_norms
        close_round(
            self.party,
            draft,
            received,
            [self.party.artifact(file, key, self.federation) for file in files],
            contributions=_contributions(received, folded, stated=stated),
            base_norm=folded.base_norm if stated else None,
        )
        message = f"round {self.number} of {plan.rounds} is published: {received.summary}"
        if len(received.records) < plan.aggregation.quorum:
            message += f"; below the plan's quorum of {plan.aggregation.quorum}"
        now = self.party.environment.clock()
        end = expected_end(self.party.ledger.rounds, plan.rounds, now)
        if end is not None and end - now > _SOON:
            message += f"; at the pace of the newest rounds, the last round ends about {end:%Y-%m-%d %H:%M} UTC"
        return self._result(received, Status.PUBLISHED, message, figures, folded.model.sha256)

    def _publish_sum(
        self, received: ReceivedUpdates, draft: Draft, folded: Folded, figures: tuple[SiteReview, ...]
    ) -> AggregateResult:
        """Publish what a region has summed; the updates have been folded into φ(t-1), and are within the plan's limits."""
        plan, updates = self.federation.plan, list(received.updates.values())
        mean = mean_of(plan.aggregation, self.layout, updates, draft.folder, None)
        stated = plan.limits.limit_norms
        publish_sum(
            self.party,
            draft,
            received,
            mean,
            contributions=_contributions(received, folded, stated=stated),
            base_norm=folded.base_norm if stated else None,
        )
        message = f"round {self.number} of {plan.rounds} is summed: {received.summary}"
        return self._result(received, Status.PUBLISHED, f"{message}; next: `{self.party.command('relay')}`", figures)

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

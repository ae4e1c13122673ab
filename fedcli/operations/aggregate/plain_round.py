"""A round whose updates are read one by one: wait or compute φ(t), review, publish; in a region, publish the sum."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcli.aggregation.fold import StateFiles, fold
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.update import UpdateError
from fedcli.exchange import layout
from fedcli.exchange.dates import expected_end
from fedcli.exchange.records import Contribution, Role
from fedcli.operations.aggregate.aggregate_result import AggregateResult
from fedcli.party.aggregation_input import num_threads, state_before
from fedcli.party.round_closing import close_round, open_deadline
from fedcli.party.transfer.outgoing import ArtifactFile
from fedcli.party.tree.regional_sum import mean_of, publish_sum
from fedcli.party.update_review import SiteReview, review
from fedcli.results import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fedcli.aggregation.fold import Folded
    from fedcli.aggregation.update import Update
    from fedcli.exchange.outbox import Draft
    from fedcli.exchange.records import FederationRecord
    from fedcli.party.party import Party
    from fedcli.party.received_updates import ReceivedUpdates
    from fedcli.party.update_review import RoundReviewer
    from fedcli.tensors import Layout

_MODEL = "model"
_STATE = "server_state"
_SOON = timedelta(hours=1)
"""An end that is nearer is not foretold."""


@dataclass(frozen=True, slots=True)
class PlainRound:
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
            self.federation.plan,
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

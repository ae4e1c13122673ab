"""The coordinator's part of a masked round, step by step: each run does the next step whose records are there.

masks of enough members → opening → masked updates of enough participants → closing → T answers → φ(t), and the next opening.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.masking.masked_rounds import least_participants
from fedcli.exchange.records import ClosingRecord, Contribution, OpeningRecord, Role, Survivor
from fedcli.party.command_lines import party_command
from fedcli.party.masking.masking_files import read_closing, read_opening
from fedcli.party.masking.round_opening import open_round, reason_to_wait, sites_needed
from fedcli.party.masking.unmask_answers import read_answers
from fedcli.party.masking.unmasking import masked_sum, restored_secrets, unmasked_model
from fedcli.party.party import publication
from fedcli.party.received_updates import ReceivedUpdates, receive_updates
from fedcli.party.round_closing import close_round
from fedcli.party.transfer.outgoing import ArtifactFile
from fedcli.privacy.masking.shamir import threshold
from fedcli.privacy.masking.word_pieces import masked_layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedcli.aggregation.update import Update
    from fedcli.disk import Measured
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import FederationRecord, UnmaskRecord, UpdateRecord
    from fedcli.party.party import Party
    from fedcli.privacy.masking.restored_secrets import RestoredSecrets
    from fedcli.tensors import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedStep:
    """What one run has done in a masked round.

    Attributes:
        message: What was done, and what is awaited.
        received: The updates of the round.
        model: φ(t), if the round is published.
    """

    message: str
    received: ReceivedUpdates
    model: Measured | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedAggregation:
    """The open round of a plan that masks.

    Attributes:
        party: The coordinator.
        number: t.
        base: φ(t-1).
        layout: That of the federation's models.
        without: Sites that a person leaves out of the next step, with the reason.
        below_quorum: Whether fewer than the plan's quorum suffice without them.
    """

    party: Party
    number: int
    base: Update
    layout: Layout
    without: Mapping[str, str]
    below_quorum: bool

    @property
    def federation(self) -> FederationRecord:
        """The federation record in force."""
        return self.party.ledger.in_force(self.number).record

    def advance(self) -> MaskedStep:
        """Do the next step of the round.

        Raises:
            UsageError: A site that is to be left out is no member.
            TrustError: The coordinator's own records do not verify, or φ(t) would leave its range.
        """
        if strangers := sorted(set(self.without) - set(self.federation.trainers)):
            msg = f"round {self.number}: {strangers[0]} cannot be left out, expected one of {', '.join(self.federation.trainers)}"
            raise UsageError(msg)
        opening, closing = self._begun()
        if opening is None:
            message = open_round(self.party, self.number, self.without, below_quorum=self.below_quorum)
            return MaskedStep(message=message, received=ReceivedUpdates(members=self.federation.trainers))
        return self._close(opening) if closing is None else self._finish(opening, closing)

    def _begun(self) -> tuple[Verified[OpeningRecord] | None, Verified[ClosingRecord] | None]:
        """Return the round's opening and closing, as far as they are there."""
        try:
            opening = read_opening(self.party.folder, self.number)
            return opening, read_closing(self.party.folder, opening) if opening is not None else None
        except TrustError as error:  # the recovery key may have amended the federation since
            hint = f"to end the round without a result: `{self._void_command}`"
            raise TrustError(str(error), hint=hint) from error

    @property
    def _void_command(self) -> str:
        return party_command(self.party.workspace.root, "aggregate", "--void", "--reason", "TEXT")

    def _close(self, opening: Verified[OpeningRecord]) -> MaskedStep:
        """Publish the closing, if the updates of enough participants are there."""
        excused = {item.site: item.reason for item in opening.record.excused} | dict(self.without)
        received = receive_updates(self.party, self.number, self.federation, masked_layout(self.layout), excused)
        for site, update in list(received.records.items()):
            if update.record.opening != opening.digest or site not in opening.record.sites:
                received.reject(site, f"{update.key}: masked under another opening than {opening.digest[:12]}")
        awaited = [item for item in opening.record.sites if item not in received.records and item not in received.left_out]
        waiting = self._awaits(received, awaited, tuple(self.without))
        if waiting:
            return MaskedStep(message=f"round {self.number}: {received.summary}; {waiting}", received=received)
        record = ClosingRecord(
            federation=self.party.ledger.identity,
            party=layout.COORDINATOR,
            created=self.party.environment.clock(),
            versions=self.party.versions(),
            round=self.number,
            opening=opening.digest,
            survivors=tuple(Survivor(site=site, update=item.digest) for site, item in sorted(received.records.items())),
            absent=received.absent,
            excused=received.excuses,
            rejected=received.rejections,
        )
        self.party.commit(self.party.outbox.draft(f"closing-{self.number:04d}"), publication(layout.closing(self.number), record))
        count = f"{threshold(len(self.federation.trainers))} of {len(record.survivors)}"
        message = (
            f"round {self.number} is closed with {received.summary}; waiting for the answers of {count} that remove the masks"
        )
        return MaskedStep(message=message, received=received)

    def _awaits(self, received: ReceivedUpdates, awaited: Sequence[str], left_out: Sequence[str]) -> str:
        least, count = least_participants(self.federation), len(received.records)
        possible = count + sum(site not in received.rejected for site in awaited)
        if possible < least:
            lacking = f"a masked sum needs {least} updates, and {possible} can still come"
            return f"{lacking}; to end the round without one: `{self._void_command}`"
        needed = sites_needed(self.party, self.number, awaited, left_out, below_quorum=self.below_quorum)
        return reason_to_wait(self.party, awaited, count, needed, "updates")

    def _finish(self, opening: Verified[OpeningRecord], closing: Verified[ClosingRecord]) -> MaskedStep:
        """Publish φ(t), if the answers remove the masks."""
        received = self._as_closed(closing)
        answers = read_answers(self.party, opening, closing)
        restored = restored_secrets(self.party.folder, opening, closing, answers)
        for item in restored.wrong_shares:
            self._tell(
                f"the share of {item.dealer} in the answer of {item.holder} is not the published one; one of them is at fault"
            )
        if not restored.complete:
            return MaskedStep(message=f"round {self.number}: {self._lacking(closing, answers, restored)}", received=received)
        updates = [received.records[site] for site in closing.record.sites]
        draft = self.party.outbox.draft(f"round-{self.number:04d}")
        label = f"round {self.number}: summing {len(updates)} masked updates"
        with self.party.environment.progress.track(label, 1, "models") as advance:
            target = draft.folder / "model"
            model = unmasked_model(self.party.folder, opening, restored, updates, self.base, self.layout, target)
            advance(1, "")
        file = self.party.artifact(
            ArtifactFile(role=Role.MODEL, path=target, content=model), layout.round_record(self.number), self.federation
        )
        weight = self.federation.plan.aggregation.weight
        contributions = tuple(_contribution(item, weight(item.record.steps, item.record.images, item.record.patients))
                              for item in updates)  # fmt: skip
        masked = masked_sum(opening, closing, answers, restored)
        close_round(self.party, draft, received, [file], contributions=contributions, masked=masked)
        message = f"round {self.number} of {self.federation.plan.rounds} is published: {received.summary}"
        return MaskedStep(message=message, received=received, model=model)

    def _as_closed(self, closing: Verified[ClosingRecord]) -> ReceivedUpdates:
        """Return the updates as the closing states them.

        Raises:
            TrustError: An update that it names is missing, or is another one.
        """
        record = closing.record
        received = ReceivedUpdates(
            members=self.federation.trainers,
            rejected={item.site: item for item in record.rejected},
            excused={item.site: item for item in record.excused},
        )
        for item in record.survivors:
            update = self.party.folder.update(item.site, self.number)
            if update is None or update.digest != item.update:
                msg = f"{layout.update(item.site, self.number)}: missing, or not the update that {closing.key} names"
                raise TrustError(msg)
            received.records[item.site] = update
        return received

    def _lacking(
        self, closing: Verified[ClosingRecord], answers: Mapping[str, Verified[UnmaskRecord]], restored: RestoredSecrets
    ) -> str:
        """Return what the sum still lacks, or why there will be none."""
        silent = [site for site in closing.record.sites if site not in answers]
        needed = threshold(len(self.federation.trainers))
        void = self._void_command
        if restored.wrong_dealers:
            faults = "; ".join(f"{item.dealer}: {item.fault}" for item in restored.wrong_dealers)
            return f"no sum comes out: {faults}; to end the round without one: `{void}`"
        if silent and any(missing <= len(silent) for missing in restored.lacking.values()):
            answered = f"{len(answers)} of {len(closing.record.sites)} sites have answered, and {needed} are needed"
            return f"{answered}; waiting for {', '.join(silent)}; to end the round without a result: `{void}`"
        dealers = ", ".join(restored.lacking)
        return f"too few shares of {dealers} hold, {needed} are needed; to end the round without a result: `{void}`"

    def _tell(self, text: str) -> None:
        self.party.environment.progress.event(f"round {self.number}: {text}")


def _contribution(update: Verified[UpdateRecord], weight: int) -> Contribution:
    record = update.record
    return Contribution(
        site=record.party,
        update=update.digest,
        steps=record.steps,
        images=record.images,
        patients=record.patients,
        weight=weight,
        norm=None,
        cosine=None,
    )

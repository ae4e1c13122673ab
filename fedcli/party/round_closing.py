"""The open round: until when it waits, and the record that closes it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from fedcli.errors import TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.records import Late, RoundRecord
from fedcli.party.grants import grant_newcomers
from fedcli.party.party import publication

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.outbox import Draft, Publication
    from fedcli.exchange.records import Artifact, Contribution, MaskedSum, Relayed, Restart
    from fedcli.party.party import Party
    from fedcli.party.received_updates import ReceivedUpdates
    from fedcli.plan import Plan


def open_deadline(ledger: Ledger) -> datetime | None:
    """Return when the open round may be closed with a quorum; None waits for all.

    The deadline of round 1 counts from the newest federation record, so every admission restarts it. Every later deadline is in
    the record of the round before. After the last round there is none.
    """
    if ledger.federations and ledger.newest_round >= ledger.newest_federation.plan.rounds:
        return None
    if not ledger.newest_round:
        listed = ledger.in_force(1).record
        hours = listed.plan.aggregation.deadline_hours
        return listed.created + timedelta(hours=hours) if hours else None
    return ledger.rounds[-1].record.deadline if ledger.rounds else None


def close_round(
    party: Party,
    draft: Draft,
    received: ReceivedUpdates,
    files: Sequence[tuple[Artifact, Path]],
    *,
    contributions: tuple[Contribution, ...] = (),
    base_norm: float | None = None,
    restart: Restart | None = None,
    masked: MaskedSum | None = None,
    relayed: Relayed | None = None,
) -> None:
    """Publish the coordinator's record of the open round with its artifacts, and take it into the ledger.

    `received` says who is absent, excused or rejected; `files` are the round's artifacts, each with where it is in the draft. The
    other arguments are what `RoundRecord` explains.
    """
    ledger, created, number = party.ledger, party.environment.clock(), party.ledger.newest_round + 1
    record = RoundRecord(
        federation=ledger.identity,
        party=layout.COORDINATOR,
        created=created,
        versions=party.versions(),
        round=number,
        parent=ledger.rounds[-1].digest,
        federation_record=ledger.in_force(number).digest,
        rule=party.plan.aggregation.rule if restart is None else ledger.rounds[restart.round].record.rule,
        contributions=contributions,
        absent=received.absent,
        excused=received.excuses,
        rejected=received.rejections,
        late=_late_updates(party),
        base_norm=base_norm,
        deadline=_next_deadline(party.plan, number, created),
        restart=restart,
        masked=masked,
        relayed=relayed,
        artifacts=tuple(artifact for artifact, _ in files),
    )
    _publish(party, draft, publication(layout.round_record(number), record, *files))


def _publish(party: Party, draft: Draft, record: Publication) -> None:
    """Publish a round, take it into the ledger, and grant it to those whom only a later federation record lists."""
    federation = party.ledger.in_force(party.ledger.newest_round + 1).record
    party.commit(draft, record)
    party.folder.artifacts.forget()
    party.folder.synchronise()
    grant_newcomers(party, federation)


def _next_deadline(plan: Plan, number: int, created: datetime) -> datetime | None:
    hours = plan.aggregation.deadline_hours
    return created + timedelta(hours=hours) if hours and number < plan.rounds else None


def _late_updates(party: Party) -> tuple[Late, ...]:
    """Return the valid updates of earlier rounds that arrived late and are not in a round record yet."""
    late: list[Late] = []
    for number, site in party.ledger.rounds.outstanding:
        try:
            update = party.folder.update(site, number)
        except (TrustError, UnreadableError) as error:
            party.environment.progress.event(f"round {number}: late update of {site} is rejected: {error}")
            continue
        if update is not None:
            late.append(Late(site=site, round=number, update=update.digest))
    return tuple(sorted(late, key=lambda item: (item.site, item.round)))

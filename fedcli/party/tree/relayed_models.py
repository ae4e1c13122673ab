"""What passes between a region and the federation above: the model of each round down, the weighted mean of each round up.

The region is at work with two workspaces: that of its own coordinator, and that of its site in the federation above. Rounds have
the same numbers in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli import tensors
from fedcli.disk import Measured
from fedcli.errors import ConfigurationError, TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.records import Payload, RegionalSum, Relayed, Restart, Role, UpdateRecord
from fedcli.exchange.succession import newest_seen
from fedcli.party.aggregation_input import base_of, layout_of, num_threads, update_of
from fedcli.party.party import publication
from fedcli.party.received_updates import ReceivedUpdates, discarded_updates
from fedcli.party.round_closing import close_round
from fedcli.party.transfer.artifacts import Artifacts
from fedcli.party.transfer.outgoing import ArtifactFile, prepare_update
from fedcli.party.tree.regional_sum import mean_of, read_sum, regional_figures, summed_updates
from fedcli.plan import MAX_STEPS
from fedcli.text.wording import counted
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.outbox import Draft
    from fedcli.exchange.records import RoundRecord, SumRecord
    from fedcli.party.party import Party
    from fedcli.party.tree.regional_sum import RegionalFigures
    from fedcli.plan import Plan
    from fedcli.tensors import Arrays

_CALL = "stop, and ask the coordinator above by telephone (`fedcli docs when-something-breaks`)"


def require_one_tree(region: Party, member: Party) -> None:
    """Check that a region belongs to the federation of its workspace above, and has taken only that federation's models.

    Raises:
        ConfigurationError: It is no region, or one of another federation.
        TrustError: The newest model that it has taken is not there.
    """
    plan, identity = region.plan, member.ledger.identity
    if plan.tree.above != identity:
        named = plan.tree.above[:SHORT_DIGEST] or "none"
        msg = f"{region.workspace.root}: tree.above of the plan: expected {identity[:SHORT_DIGEST]}, found {named}"
        raise ConfigurationError(msg, hint="--above names the workspace of this region's site in the federation above")
    newest = region.ledger.rounds[-1].record
    digests = member.ledger.rounds.digests
    taken = newest.relayed.record if newest.relayed is not None else ""
    if newest.round >= len(digests) or digests[newest.round] != taken:
        found = digests[newest.round][:SHORT_DIGEST] if newest.round < len(digests) else "no such round"
        msg = f"{member.store.address}: round {newest.round}: expected {taken[:SHORT_DIGEST]}, as taken before, found {found}"
        raise TrustError(msg, hint=_CALL)


def take_models(region: Party, member: Party) -> tuple[int, ...]:
    """Publish in the region every round that the federation above has published since; return their numbers.

    Raises:
        TrustError: A model is missing or not what its record says, or the region's own records do not hold.
    """
    taken = []
    while (number := region.ledger.newest_round + 1) <= min(member.ledger.newest_round, region.plan.rounds):
        _take_model(region, member, member.ledger.rounds[number])
        taken.append(number)
    return tuple(taken)


def _take_model(region: Party, member: Party, above: Verified[RoundRecord]) -> None:
    """Close the region's open round with the model of the same round above.

    Where the region has summed the round, its record names the sum, and the updates in it. A restart above is one here too.
    """
    number = above.record.round
    restart, summed = above.record.restart, read_sum(region.folder, number)
    if restart is not None:
        summed = None
    draft = region.outbox.draft(f"round-{number:04d}")
    copies = Artifacts(member.store, draft.folder / "fetched", member.folder.opening)
    path = copies.fetch(above, above.artifact, layout_of(base_of(region.folder, number)))
    content = Measured(size=above.artifact.content_size, sha256=above.artifact.content_sha256)
    file = ArtifactFile(role=Role.MODEL, path=path, content=content)
    force = region.ledger.in_force(number).record
    if summed is not None:
        received = _received(region, summed)
    else:
        reason = restart.reason if restart is not None else "the federation above has closed the round without this region"
        received = discarded_updates(region, reason)
    close_round(
        region,
        draft,
        received,
        [region.artifact(file, layout.round_record(number), force)],
        contributions=summed.record.contributions if summed is not None else (),
        base_norm=summed.record.base_norm if summed is not None else None,
        restart=Restart(round=restart.round, reason=restart.reason) if restart is not None else None,
        relayed=Relayed(record=above.digest, sum=summed.digest if summed is not None else None),
    )


def _received(region: Party, summed: Verified[SumRecord]) -> ReceivedUpdates:
    record = summed.record
    return ReceivedUpdates(
        members=region.ledger.in_force(record.round).record.trainers,
        records={update.record.party: update for update in summed_updates(region.folder, summed)},
        rejected={item.site: item for item in record.rejected},
        excused={item.site: item for item in record.excused},
    )


def send_mean(region: Party, member: Party, summed: Verified[SumRecord]) -> None:
    """Publish in the federation above the weighted mean of what the region has summed in the open round.

    Raises:
        ApprovalError: The region's operator has not approved the plan above.
        UsageError: The region's steps are more than that plan allows.
        TrustError: The updates do not give the mean that the sum's record names.
    """
    number, plan = summed.record.round, member.approved_plan()
    updates = summed_updates(region.folder, summed)
    figures = regional_figures([item.record for item in updates])
    _require_possible_counts(number, figures, plan)
    draft = member.outbox.draft(f"round-{number:04d}")
    outgoing = prepare_update(draft.folder, _mean(region, draft, summed, updates), plan.updates)
    key = layout.update(member.name, number)
    file = ArtifactFile(
        role=Role.UPDATE, path=outgoing.path, content=outgoing.content, stored=outgoing.stored, travel=plan.updates
    )
    artifact, stored = member.artifact(file, key, member.ledger.in_force(number).record)
    record = UpdateRecord(
        federation=member.ledger.identity,
        party=member.name,
        created=member.environment.clock(),
        versions=member.versions(),
        round=number,
        seen=newest_seen(member.ledger.rounds),
        parent=member.ledger.rounds[number - 1].digest,
        plan=plan.digest,
        payload=Payload.WEIGHTED_SUM,
        norm=tensors.euclidean_norm(outgoing.delta),
        region=RegionalSum(federation=region.ledger.identity, record=summed.digest),
        device=f"mean of {counted(len(updates), 'update')}",
        threads=num_threads(),
        artifacts=(artifact,),
        dataset=None,
        training_loss=None,
        seconds=None,
        steps=figures.steps,
        images=figures.images,
        patients=figures.patients,
        received=figures.received,
        trained=figures.trained,
    )
    member.commit(draft, publication(key, record, (artifact, stored)))


def _require_possible_counts(number: int, figures: RegionalFigures, plan: Plan) -> None:
    weight = plan.aggregation.weight(figures.steps, figures.images, figures.patients)
    if figures.steps > plan.limits.steps:
        msg = f"round {number}: the region's sites took {figures.steps} steps, expected at most {plan.limits.steps}"
        raise UsageError(msg, hint="ask the coordinator above for a larger limits.steps: a region counts with all its sites")
    if not 1 <= weight <= MAX_STEPS:
        msg = f"round {number}: the region counts by {plan.aggregation.weights}, expected 1 to {MAX_STEPS}, found {weight}"
        raise UsageError(msg, hint='where sites withhold their numbers, the plan above needs aggregation.weights = "steps"')


def _mean(region: Party, draft: Draft, summed: Verified[SumRecord], updates: Sequence[Verified[UpdateRecord]]) -> Arrays:
    """Compute the mean of the updates again: it was summed by an earlier command, or on another machine."""
    number, stated = summed.record.round, summed.record.content_sha256
    expected, plan = layout_of(base_of(region.folder, number)), region.ledger.in_force(number).record.plan
    files = [update_of(region.folder, item, plan, expected) for item in updates]
    path = draft.folder / "mean"
    mean = mean_of(plan.aggregation, expected, files, draft.folder, path)
    if mean.sha256 != stated:
        msg = f"{summed.key}: the updates give the mean {mean.sha256[:SHORT_DIGEST]}, expected {stated[:SHORT_DIGEST]}"
        raise TrustError(msg)
    arrays = tensors.read(path)
    path.unlink()
    return arrays

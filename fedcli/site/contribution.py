"""A site's contribution to a round: train from φ(t-1), keep the best model, and publish Δφ(t) with its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fedcli import tensors, wire
from fedcli.disclosure.levels import published_figure
from fedcli.disclosure.published import published_validation
from fedcli.disclosure.small_sites import advice_on_data
from fedcli.disk import write_whole
from fedcli.errors import TrainingError
from fedcli.exchange import layout
from fedcli.exchange.history.lineage import untrained
from fedcli.exchange.records import Payload, Role, UpdateRecord
from fedcli.exchange.succession import newest_seen
from fedcli.learning.training.local_training import TrainingResult
from fedcli.learning.training.private import PrivateTrainingResult
from fedcli.party.masking.masked_update import MADE, MadeUpdate, mask_file, reason_not_to_mask, round_masks
from fedcli.party.masking.own_masks import erase_secrets
from fedcli.party.party import publication
from fedcli.party.transfer.outgoing import ArtifactFile, prepare_update
from fedcli.plan import OptimizerState, Part
from fedcli.site import selection
from fedcli.site.egress import note_of
from fedcli.site.learner import Learner
from fedcli.site.local_round import kept_state, receive, resumed_selection, run_local_round
from fedcli.site.privacy_budget import PrivacyBudget
from fedcli.site.processes import gathered
from fedcli.site.site_data import dataset_record
from fedcli.site.training_log import note_training

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.exchange.outbox import Draft, Publication
    from fedcli.exchange.records import Artifact
    from fedcli.learning.training.checkpoint import Checkpoint
    from fedcli.party.masking.masked_update import RoundMasks
    from fedcli.party.party import Party
    from fedcli.party.transfer.outgoing import Outgoing
    from fedcli.plan import Plan
    from fedcli.site.local_round import LocalRound
    from fedcli.tensors import Arrays


def contribute(party: Party, plan: Plan, number: int, *, held: bool = False, devices: int = 1) -> LocalRound | None:
    """Train from φ(t-1), and publish the update, or seal it and hold it for review; where the plan masks, masked.

    Returns:
        What was done; None where a masked round was closed in the meantime, whose update is then discarded.

    Raises:
        DataError: The prepared data do not fit the plan.
        TrainingError: Training produced something that must not be published.
        ApprovalError: The plan's privacy budget has no room for the round.
        KeyboardInterrupt: It was interrupted; the next run continues.
    """
    masks = round_masks(party, number) if plan.aggregation.masking else None
    budget = PrivacyBudget(party, plan, number) if plan.privacy.promised else None
    with gathered(party.workspace, devices) as replicas:
        learner = Learner(party.workspace, plan, party.environment.progress, replicas)
        _warn_once(party, learner)
        local_round = run_local_round(party, learner, number, budget)
    if masks is not None and reason_not_to_mask(party, number):
        return None
    draft = party.outbox.draft(f"round-{number:04d}")
    _save_state(draft, plan, local_round)
    require_finite(local_round.delta)
    outgoing = prepare_update(draft.folder, local_round.delta, plan.updates)
    require_finite(outgoing.delta)
    dataset, dataset_publication = dataset_record(party, learner)
    key = layout.update(party.name, number)
    file = _artifact_file(outgoing, plan, local_round, learner, masks)
    artifact, stored = party.artifact(file, key, party.ledger.in_force(number).record)
    record = _record(party, learner, local_round, number, outgoing, dataset, artifact, masks)
    update = publication(key, record, (artifact, stored))
    if masks is not None:
        write_whole(draft.state / MADE, wire.encode(MadeUpdate(opening=masks.opening, update=update.digest)))
    note_training(party.workspace, number, learner.data)
    note = note_of(outgoing.delta) if held else None
    if budget is not None and isinstance(local_round.result, PrivateTrainingResult):
        budget.charge(local_round.result.training, update.digest)
    _commit(party, draft, (*dataset_publication, update), note, number, local_round.checkpoint)
    selection.forget_older_states(party.workspace)
    party.folder.artifacts.forget()
    return local_round


def _artifact_file(
    outgoing: Outgoing, plan: Plan, local_round: LocalRound, learner: Learner, masks: RoundMasks | None
) -> ArtifactFile:
    """Return the file of an update as it travels: as it was prepared, or masked."""
    if masks is None:
        return ArtifactFile(
            role=Role.UPDATE, path=outgoing.path, content=outgoing.content, stored=outgoing.stored, travel=plan.updates
        )
    cohort, target = learner.data.cohort.part(Part.TRAIN), outgoing.path.with_suffix(".masked")
    weight = plan.aggregation.weight(local_round.result.steps, len(learner.samples(Part.TRAIN)), cohort.patients)
    return ArtifactFile(role=Role.UPDATE, path=target, content=mask_file(outgoing.path, target, weight, masks))


def _commit(
    party: Party,
    draft: Draft,
    publications: Sequence[Publication],
    note: bytes | None,
    number: int,
    checkpoint: Checkpoint,
) -> None:
    """Put the round into the outbox, erase the secrets of its masks and of its noise, and publish it unless it is held."""
    name = party.outbox.commit(draft, tuple(publications), party.signer, note=note)
    checkpoint.remove()
    erase_secrets(party, number)
    if note is None:
        party.publish(name)


def _warn_once(party: Party, learner: Learner) -> None:
    """Say before the first round what a site of this size should know."""
    if selection.newest_state(party.workspace) is None:
        for sentence in advice_on_data(learner.plan, learner.data.cohort):
            party.environment.progress.event(f"{party.name}: {sentence}")


def _save_state(draft: Draft, plan: Plan, local_round: LocalRound) -> None:
    """Put into a draft what the round saves in the workspace once it is published."""
    local_round.best.copy(draft.state)
    if plan.training.optimizer_state is OptimizerState.KEEP:
        tensors.write(draft.state / selection.OPTIMIZER, local_round.result.optimizer_state)
    if local_round.statistics:
        tensors.write(draft.state / selection.STATISTICS, local_round.statistics)


def _record(
    party: Party,
    learner: Learner,
    local_round: LocalRound,
    number: int,
    outgoing: Outgoing,
    dataset: str | None,
    artifact: Artifact,
    masks: RoundMasks | None,
) -> UpdateRecord:
    result, told = local_round.result, local_round.privacy is None
    loss = result.loss if isinstance(result, TrainingResult) else None
    return UpdateRecord(
        federation=party.ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(torch=True),
        round=number,
        seen=newest_seen(party.ledger.rounds),
        parent=party.ledger.rounds[number - 1].digest,
        plan=learner.plan.digest,
        dataset=dataset,
        steps=result.steps,
        images=len(learner.samples(Part.TRAIN)) if told else None,
        patients=learner.data.cohort.part(Part.TRAIN).patients if told else None,
        privacy=local_round.privacy,
        received=published_validation(local_round.received, learner.level(Part.VALIDATION)),
        trained=published_validation(local_round.trained, learner.level(Part.VALIDATION)),
        payload=Payload.DELTA if masks is None else Payload.MASKED_SUM,
        training_loss=published_figure(loss, learner.level(Part.TRAIN)) if masks is None else None,
        norm=tensors.euclidean_norm(outgoing.delta) if masks is None and told else None,
        opening=masks.opening if masks is not None else None,
        seconds=round(result.seconds, 1) if told else None,
        device=learner.machine,
        threads=torch.get_num_threads(),
        artifacts=(artifact,),
    )


def consider_final(party: Party, plan: Plan, number: int) -> None:
    """Score φ(T) as a candidate; the selection is saved in the workspace as the state of round T + 1."""
    learner = Learner(party.workspace, plan, party.environment.progress)
    last = party.ledger.rounds[number - 1]
    draft = party.outbox.draft(f"round-{number:04d}")
    best = resumed_selection(party, plan, number, draft.state)
    published = learner.load(party.folder.global_model(number - 1, learner.layout))
    receive(learner, published, kept_state(party, number), None if untrained(party.ledger.rounds, number - 1) else best, last)
    party.commit(draft)
    selection.forget_older_states(party.workspace)


def require_finite(delta: Arrays) -> None:
    """Raise a TrainingError if a delta is not finite."""
    for name, value in delta.items():
        if not np.isfinite(value).all():
            msg = f"the update is not finite in tensor {name}; nothing is published"
            raise TrainingError(msg, hint="a lower training.rate may help")

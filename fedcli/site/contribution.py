"""A site's contribution to a round: train from φ(t-1), keep the best model, and publish Δφ(t) with its record."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedcli import tensors
from fedcli.disclosure.levels import published_figure
from fedcli.disclosure.published import published_cohort, published_validation
from fedcli.errors import TrainingError
from fedcli.exchange import layout
from fedcli.exchange.records import DatasetRecord, Role, UpdateRecord
from fedcli.exchange.succession import newest_seen
from fedcli.party.artifacts import prepare_update
from fedcli.party.party import artifact_of, publication
from fedcli.plan import OptimizerState, Part
from fedcli.site import selection
from fedcli.site.egress import note_of
from fedcli.site.learner import Learner
from fedcli.site.local_round import kept_state, receive, resumed_selection, run_local_round
from fedcli.site.processes import gathered
from fedcli.site.training_log import note_training

if TYPE_CHECKING:
    from fedcli.exchange.outbox import Draft, Publication
    from fedcli.exchange.records import Artifact
    from fedcli.party.artifacts import Outgoing
    from fedcli.party.party import Party
    from fedcli.plan import Plan
    from fedcli.site.local_round import LocalRound
    from fedcli.tensors import Arrays


def contribute(party: Party, plan: Plan, number: int, *, held: bool = False, devices: int = 1) -> LocalRound:
    """Train from φ(t-1), and publish the update, or seal it and hold it for review.

    Raises:
        DataError: The prepared data do not fit the plan.
        TrainingError: Training produced something that must not be published.
        KeyboardInterrupt: It was interrupted; the next run continues.
    """
    with gathered(party.workspace, devices) as replicas:
        learner = Learner(party.workspace, plan, party.environment.progress, replicas)
        local_round = run_local_round(party, learner, number)
    draft = party.outbox.draft(f"round-{number:04d}")
    _save_state(draft, plan, local_round)
    require_finite(local_round.delta)
    outgoing = prepare_update(draft.folder, local_round.delta, plan.updates)
    require_finite(outgoing.delta)
    dataset, dataset_publication = _dataset(party, learner)
    key = layout.update(party.name, number)
    artifact = artifact_of(key, Role.UPDATE, outgoing.content, stored=outgoing.stored, travel=plan.updates)
    record = _record(party, learner, local_round, number, outgoing, dataset, artifact)
    note_training(party.workspace, number, learner.data)
    note = note_of(outgoing.delta) if held else None
    party.commit(draft, *dataset_publication, publication(key, record, (artifact, outgoing.path)), note=note)
    local_round.checkpoint.remove()
    selection.forget_older_states(party.workspace)
    party.folder.artifacts.forget()
    return local_round


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
) -> UpdateRecord:
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
        steps=local_round.result.steps,
        images=len(learner.samples(Part.TRAIN)),
        patients=learner.data.cohort.part(Part.TRAIN).patients,
        received=published_validation(local_round.received, learner.level(Part.VALIDATION)),
        trained=published_validation(local_round.trained, learner.level(Part.VALIDATION)),
        training_loss=published_figure(local_round.result.loss, learner.level(Part.TRAIN)),
        norm=euclidean_norm(outgoing.delta),
        seconds=round(local_round.result.seconds, 1),
        device=learner.machine,
        threads=torch.get_num_threads(),
        artifacts=(artifact,),
    )


def consider_final(party: Party, plan: Plan, number: int) -> None:
    """Score φ(T) as a candidate; the selection is saved in the workspace as the state of round T + 1."""
    learner = Learner(party.workspace, plan, party.environment.progress)
    last = party.ledger.rounds[number - 1]
    draft = party.outbox.draft(f"round-{number:04d}")
    best = resumed_selection(party, number, draft.state)
    published = learner.load(party.folder.global_model(number - 1, learner.layout))
    receive(learner, published, kept_state(party, number), best, number - 1, last.digest)
    party.commit(draft)
    selection.forget_older_states(party.workspace)


def _dataset(party: Party, learner: Learner) -> tuple[str | None, tuple[Publication, ...]]:
    """Return the digest of the newest record of the site's data, and that record if it is to be published now.

    There is a new record if the data have changed, and none if the operator does not share them.
    """
    if not party.workspace.settings.share_dataset:
        return None, ()
    ledger, newest = party.ledger, next(party.folder.datasets(party.name), None)
    cohort = published_cohort(learner.data.cohort, learner.training_patients, learner.plan.evaluation.min_cell)
    if newest is not None and newest.record.cohort == cohort:
        return newest.digest, ()
    key_of = partial(layout.dataset, party.name)
    number = layout.free_number(newest.record.number if newest else 0, key_of, party.store.stat)
    record = DatasetRecord(
        federation=ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(),
        number=number,
        as_of=ledger.newest_round,
        seen=newest_seen(ledger.rounds),
        cohort=cohort,
    )
    dataset = publication(key_of(number), record)
    return dataset.digest, (dataset,)


def require_finite(delta: Arrays) -> None:
    """Raise a TrainingError if a delta is not finite."""
    for name, value in delta.items():
        if not np.isfinite(value).all():
            msg = f"the update is not finite in tensor {name}; nothing is published"
            raise TrainingError(msg, hint="a lower training.rate may help")


def euclidean_norm(delta: Arrays) -> float:
    """Return the norm of all float tensors together."""
    return math.sqrt(
        math.fsum(float(np.square(value, dtype=np.float64).sum()) for value in delta.values() if value.dtype.kind == "f")
    )

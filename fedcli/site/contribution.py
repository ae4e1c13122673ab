"""What a site contributes to a round: local training from φ(t-1), the best model kept, and Δφ(t) with its record published."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedcli import tensors
from fedcli.errors import TrainingError
from fedcli.exchange import layout
from fedcli.exchange.records import DatasetRecord, Role, UpdateRecord
from fedcli.party.artifacts import prepare_update
from fedcli.party.party import artifact_of, publication
from fedcli.plan import OptimizerState, Part
from fedcli.site import local_round, selection
from fedcli.site.egress import note_of
from fedcli.site.learner import Learner
from fedcli.site.processes import gathered
from fedcli.site.selection import Selection

if TYPE_CHECKING:
    from fedcli.exchange.outbox import Publication
    from fedcli.exchange.records import ValidationScore
    from fedcli.party.party import Party
    from fedcli.plan import Plan
    from fedcli.tensors import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What a site did in a round.

    Attributes:
        steps: n_k.
        received: φ(t-1) on the site's validation patients.
        trained: The site's own model after training.
        seconds: Duration of training.
    """

    steps: int
    received: ValidationScore
    trained: ValidationScore
    seconds: float


def contribute(party: Party, plan: Plan, number: int, *, held: bool = False, devices: int = 1) -> Contribution:
    """Train from φ(t-1), and publish the update, or commit it and hold it for a person to look at.

    Raises:
        DataError: The prepared data do not fit the plan.
        TrainingError: Training produced something that must not leave.
        KeyboardInterrupt: It was interrupted; the next run goes on.
    """
    with gathered(party.workspace, devices) as replicas:
        learner = Learner(party.workspace, plan, party.environment.progress, replicas)
        found = local_round.run_local_round(party, learner, number)
    draft = party.outbox.draft(f"round-{number:04d}")
    found.best.copy(draft.state)
    if plan.training.optimizer_state is OptimizerState.KEEP:
        tensors.write(draft.state / selection.OPTIMIZER, found.result.optimizer_state)
    if found.statistics:
        tensors.write(draft.state / selection.STATISTICS, found.statistics)
    require_finite(found.delta)
    outgoing = prepare_update(draft.folder, found.delta, plan.updates)
    require_finite(outgoing.delta)
    dataset, dataset_publication = _dataset(party, learner)
    key = layout.update(party.name, number)
    artifact = artifact_of(key, Role.UPDATE, outgoing.content, stored=outgoing.stored, travel=plan.updates)
    record = UpdateRecord(
        federation=party.ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(torch=True),
        round=number,
        parent=party.ledger.rounds[number - 1].digest,
        plan=plan.digest,
        dataset=dataset,
        steps=found.result.steps,
        images=len(learner.samples(Part.TRAIN)),
        patients=learner.data.cohort.part(Part.TRAIN).patients,
        received=found.received,
        trained=found.trained,
        training_loss=found.result.loss,
        norm=euclidean_norm(outgoing.delta),
        seconds=round(found.result.seconds, 1),
        device=learner.machine,
        threads=torch.get_num_threads(),
        artifacts=(artifact,),
    )
    note = note_of(outgoing.delta) if held else None
    party.commit(draft, *dataset_publication, publication(key, record, (artifact, outgoing.path)), note=note)
    found.checkpoint.remove()
    selection.forget_older_states(party.workspace)
    party.folder.artifacts.forget()
    return Contribution(
        steps=found.result.steps, received=found.received, trained=found.trained, seconds=round(found.result.seconds, 1)
    )


def consider_final(party: Party, plan: Plan, number: int) -> None:
    """Score φ(T) as a candidate; the outcome stays in the workspace, as what round T + 1 would leave."""
    learner = Learner(party.workspace, plan, party.environment.progress)
    last = party.ledger.rounds[number - 1]
    before = selection.newest_state(party.workspace)
    draft = party.outbox.draft(f"round-{number:04d}")
    best = Selection.resume(draft.state, before)
    published = learner.load(party.folder.global_model(number - 1, learner.layout))
    local_round.receive(learner, published, before, best, number - 1, last.digest)
    party.commit(draft)
    selection.forget_older_states(party.workspace)


def _dataset(party: Party, learner: Learner) -> tuple[str | None, tuple[Publication, ...]]:
    """Return the digest of the newest record of the site's data, and that record where it is yet to be published.

    A record is new where the data have changed; there is none where the operator shares none.
    """
    if not party.workspace.settings.share_dataset:
        return None, ()
    ledger = party.ledger
    prefix = f"{layout.prefix(party.name)}dataset/"
    numbers = layout.numbers(party.store.list(prefix), f"{prefix}{{}}.json")
    cohort = learner.data.cohort
    if numbers:
        newest = ledger.dataset(party.name, numbers[-1], party.folder.read(layout.dataset(party.name, numbers[-1])))
        if newest.record.cohort == cohort:
            return newest.digest, ()
    number = (numbers[-1] if numbers else 0) + 1
    record = DatasetRecord(
        federation=ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(),
        number=number,
        as_of=ledger.newest_round,
        cohort=cohort,
    )
    found = publication(layout.dataset(party.name, number), record)
    return found.digest, (found,)


def require_finite(delta: Arrays) -> None:
    """Raise a TrainingError where a delta is not finite, by itself or as encoded."""
    for name, value in delta.items():
        if not np.isfinite(value).all():
            msg = f"the update is not finite in tensor {name}; nothing leaves"
            raise TrainingError(msg, hint="a lower training.rate may help")


def euclidean_norm(delta: Arrays) -> float:
    """Return the norm of all float tensors together."""
    return math.sqrt(
        math.fsum(float(np.square(value, dtype=np.float64).sum()) for value in delta.values() if value.dtype.kind == "f")
    )

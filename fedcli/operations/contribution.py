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
from fedcli.learning import networks, training
from fedcli.learning.seeds import derive_seed
from fedcli.operations import selection
from fedcli.operations.artifacts import prepare_update
from fedcli.operations.egress import note_of
from fedcli.operations.learner import Learner, require_images
from fedcli.operations.party import artifact_of, parcel
from fedcli.operations.selection import Origin, Selection
from fedcli.plan import OptimizerState, Part

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.outbox import Parcel
    from fedcli.exchange.records import ValidationScore
    from fedcli.learning.training import Outcome
    from fedcli.operations.party import Party
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


def contribute(party: Party, plan: Plan, number: int, *, held: bool = False) -> Contribution:
    """Train from φ(t-1), and publish the update, or seal it and hold it for a person to look at.

    Raises:
        DataError: The prepared data do not fit the plan.
        TrainingError: Training produced something that must not leave.
    """
    learner = Learner(party.workspace, plan, party.environment.progress)
    samples = learner.samples(Part.TRAIN)
    require_images(samples, party.name, Part.TRAIN)
    parent = party.folder.ledger.rounds[number - 1]
    before = selection.newest_state(party.workspace)
    draft = party.outbox.draft(f"round-{number:04d}")
    best = Selection.resume(draft.state, before)

    received = learner.load(party.folder.global_model(number - 1, learner.layout))
    received_score = learner.validate(f"round {number}, received model on validation patients")
    best.offer(received, number - 1, Origin.RECEIVED, received_score.kappa, parent.digest)

    outcome = _local_training(learner, number, before)
    trained = networks.to_arrays(learner.module)
    trained_score = learner.validate(f"round {number}, trained model on validation patients")
    best.offer(trained, number, Origin.TRAINED, trained_score.kappa, parent.digest)
    if learner.plan.training.optimizer_state is OptimizerState.KEEP:
        tensors.write(draft.state / selection.OPTIMIZER, outcome.optimizer_state)

    outgoing = prepare_update(draft.folder, difference(received, trained), plan.updates)
    require_finite(outgoing.delta)
    dataset, dataset_parcel = _dataset(party, learner)
    key = layout.update(party.name, number)
    artifact = artifact_of(key, Role.UPDATE, outgoing.content, stored=outgoing.stored, travel=plan.updates)
    record = UpdateRecord(
        federation=party.folder.ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(torch=True),
        round=number,
        parent=parent.digest,
        plan=learner.plan.digest,
        dataset=dataset,
        steps=outcome.steps,
        images=len(samples),
        patients=learner.data.cohort.part(Part.TRAIN).patients,
        received=received_score,
        trained=trained_score,
        training_loss=outcome.loss,
        norm=euclidean_norm(outgoing.delta),
        seconds=round(outcome.seconds, 1),
        device=str(learner.device),
        threads=torch.get_num_threads(),
        artifacts=(artifact,),
    )
    note = note_of(outgoing.delta) if held else None
    party.seal(draft, *dataset_parcel, parcel(key, record, (artifact, outgoing.path)), note=note)
    selection.forget_older_states(party.workspace)
    party.folder.forget_artifacts()
    return Contribution(steps=outcome.steps, received=received_score, trained=trained_score, seconds=round(outcome.seconds, 1))


def consider_final(party: Party, plan: Plan, number: int) -> None:
    """Score φ(T) as a candidate; the outcome stays in the workspace, as what round T + 1 would leave."""
    learner = Learner(party.workspace, plan, party.environment.progress)
    last = party.folder.ledger.rounds[number - 1]
    draft = party.outbox.draft(f"round-{number:04d}")
    best = Selection.resume(draft.state, selection.newest_state(party.workspace))
    received = learner.load(party.folder.global_model(number - 1, learner.layout))
    score = learner.validate("final global model on validation patients")
    best.offer(received, number - 1, Origin.RECEIVED, score.kappa, last.digest)
    party.seal(draft)
    selection.forget_older_states(party.workspace)


def _local_training(learner: Learner, number: int, before: Path | None) -> Outcome:
    """Run LocalTraining from the weights in the network; every random choice comes from (plan seed, site, round)."""
    plan = learner.plan
    kept = before / selection.OPTIMIZER if before else None
    state = None
    if plan.training.optimizer_state is OptimizerState.KEEP and kept is not None and kept.is_file():
        state = tensors.read(kept)
    return training.train(
        learner.module,
        learner.samples(Part.TRAIN),
        plan.training,
        plan.augmentation,
        seed=derive_seed(plan.seed, learner.site, "round", number),
        rate=plan.training.rate_in(number),
        epochs=plan.training.epochs,
        device=learner.device,
        progress=learner.progress,
        label=f"{learner.site}: round {number} of {plan.rounds}, training",
        optimizer_state=state,
    )


def _dataset(party: Party, learner: Learner) -> tuple[str | None, tuple[Parcel, ...]]:
    """Return the digest of the newest record of the site's data, and that record where it is yet to be published.

    A record is new where the data have changed; there is none where the operator shares none.
    """
    if not party.workspace.settings.share_dataset:
        return None, ()
    ledger = party.folder.ledger
    prefix = f"{layout.site_prefix(party.name)}dataset/"
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
    found = parcel(layout.dataset(party.name, number), record)
    return found.digest, (found,)


def difference(received: Arrays, trained: Arrays) -> Arrays:
    """Return Δφ = φ_k(t) - φ(t-1), tensor by tensor in the tensors' own dtypes.

    Raises:
        TrainingError: A value is not finite; nothing leaves.
    """
    delta = {name: np.asarray(trained[name] - received[name]) for name in received}
    require_finite(delta)
    return delta


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

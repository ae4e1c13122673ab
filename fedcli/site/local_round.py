"""LocalTraining in a round: receive φ(t-1), score it, train, score the model after every epoch, and take the difference.

Until the update is committed in the outbox, the checkpoint and the best model so far are in the workspace's training/round-NNNN.
An interrupted run scores the received model again and continues from the checkpoint.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedcli import tensors
from fedcli.exchange.history.lineage import untrained
from fedcli.learning.networks import batch_norm, weights
from fedcli.learning.seeds import derive_seed
from fedcli.plan import OptimizerState, Part, Statistics
from fedcli.site import selection
from fedcli.site.selection import Origin, Selection
from fedcli.site.site_data import require_images
from fedcli.site.training_job import TrainingJob, run_job

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import PrivacyClaim, RoundRecord, ValidationScore
    from fedcli.learning.training.checkpoint import Checkpoint
    from fedcli.learning.training.local_training import TrainingResult
    from fedcli.learning.training.private import PrivateTrainingResult
    from fedcli.party.party import Party
    from fedcli.plan import Plan
    from fedcli.site.learner import Learner
    from fedcli.site.privacy_budget import PrivacyBudget
    from fedcli.tensors import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRound:
    """What LocalTraining returns in a round.

    Attributes:
        delta: Δφ(t).
        received: Score of φ(t-1) on the site's validation patients.
        trained: Score of the site's own model.
        result: n_k, the loss where it may be told, and the optimizer's moments.
        privacy: What the update costs the training patients; None if the plan promises them nothing.
        best: The best model so far.
        checkpoint: Where the training is saved until its update is committed.
        statistics: The BatchNorm layers that stay at the site; empty if they are shared.
    """

    delta: Arrays
    received: ValidationScore
    trained: ValidationScore
    result: TrainingResult | PrivateTrainingResult
    privacy: PrivacyClaim | None
    best: Selection
    checkpoint: Checkpoint
    statistics: Arrays


def run_local_round(party: Party, learner: Learner, number: int, budget: PrivacyBudget | None = None) -> LocalRound:
    """Run LocalTraining(φ(t-1)); every random choice comes from (plan seed, site, round), or with a budget from a secret key."""
    samples, plan = learner.samples(Part.TRAIN), learner.plan
    require_images(samples, party.name, Part.TRAIN)
    parent, state = party.ledger.rounds[number - 1], kept_state(party, number)
    start = party.folder.global_model(number - 1, learner.layout)
    checkpoint = _checkpoint(learner, number, start, budget.patients if budget else 0)
    privacy = budget.claim(checkpoint.snapshot.key if checkpoint.snapshot else b"") if budget else None
    best = resumed_selection(party, plan, number, checkpoint.folder)
    published = learner.load(start)
    received = receive(learner, published, state, None if untrained(party.ledger.rounds, number - 1) else best, parent)
    scores: list[ValidationScore] = []

    def score(epoch: int) -> None:
        where = f"round {number}, epoch {epoch}" if plan.training.epochs > 1 else f"round {number}"
        learner.recalibrate(f"{where}, statistics of the trained model")
        scores.append(learner.validate(f"{where}, trained model on validation patients"))
        best.offer(weights.to_arrays(learner.module), number, Origin.TRAINED, learner.merit(scores[-1]), parent.digest, epoch)

    label = f"{learner.site}: round {number} of {plan.rounds}, training"
    moments = _saved(state, selection.OPTIMIZER) if plan.training.optimizer_state is OptimizerState.KEEP else None
    result = run_job(
        learner,
        _job(learner, number, budget),
        label=label,
        checkpoint=checkpoint,
        on_epoch=score,
        optimizer_state=moments,
    )
    trained = weights.to_arrays(learner.module)
    own = {name: trained[name] for name in _local_tensors(learner)}
    delta = difference(published, trained | {name: published[name] for name in own})
    return LocalRound(
        delta=delta,
        received=received,
        trained=scores[-1],
        result=result,
        privacy=privacy,
        best=best,
        checkpoint=checkpoint,
        statistics=own,
    )


def _job(learner: Learner, number: int, budget: PrivacyBudget | None) -> TrainingJob:
    plan = learner.plan
    return TrainingJob(
        plan=plan,
        training=plan.training,
        data=learner.data.digest,
        seed=derive_seed(plan.seed, learner.site, "round", number),
        rates=(plan.training.rate_in(number),) * plan.training.epochs,
        declared=budget.patients if budget else 0,
    )


def resumed_selection(party: Party, plan: Plan, number: int, folder: Path) -> Selection:
    """Return the selection of a round, which starts with the best model so far that no restart has given up."""
    rounds = party.ledger.rounds
    bases = {rounds.digests[earlier] for earlier in rounds.lineage(number - 1)}
    return Selection.resume(folder, plan.evaluation.choice, selection.newest_state(party.workspace), bases)


def kept_state(party: Party, number: int) -> Path | None:
    """Return the newest round's folder, unless that round started from a model that a restart has given up."""
    state = selection.newest_state(party.workspace)
    if state is None or selection.round_of(state) - 1 not in party.ledger.rounds.lineage(number - 1):
        return None
    return state


def receive(
    learner: Learner, published: Arrays, state: Path | None, best: Selection | None, parent: Verified[RoundRecord]
) -> ValidationScore:
    """Turn the global model of a round, which the network holds, into the model that this site uses; score it.

    It is offered to the selection, unless that is None because nobody has trained it.

    With `statistics = "local"` the site's own BatchNorm layers replace those received; with "recalibrate" their statistics are
    measured again.
    """
    statistics = _saved(state, selection.STATISTICS) if _local_tensors(learner) else None
    if statistics is not None:
        weights.load_arrays(learner.module, published | statistics)
    number = parent.record.round
    learner.recalibrate(f"round {number + 1}, statistics of the received model")
    score = learner.validate(f"round {number + 1}, received model on validation patients")
    if best is not None:
        best.offer(weights.to_arrays(learner.module), number, Origin.RECEIVED, learner.merit(score), parent.digest)
    return score


def _local_tensors(learner: Learner) -> frozenset[str]:
    """Return the names of the tensors that stay at the site."""
    local = learner.plan.training.statistics is Statistics.LOCAL
    return batch_norm.names(learner.module) if local else frozenset()


def _saved(state: Path | None, name: str) -> Arrays | None:
    """Return what a round saved under a name, or None."""
    return tensors.read(state / name) if state is not None and (state / name).is_file() else None


def _checkpoint(learner: Learner, number: int, start: Path, declared: int) -> Checkpoint:
    """Return this round's checkpoint, and remove those of other rounds, which have been closed since."""
    checkpoint = learner.checkpoint(f"round-{number:04d}", start, declared)
    for folder in checkpoint.folder.parent.glob("round-*"):
        if folder != checkpoint.folder:
            shutil.rmtree(folder)
    return checkpoint


def difference(received: Arrays, trained: Arrays) -> Arrays:
    """Return Δφ = φ_k(t) - φ(t-1), each tensor in its own dtype."""
    return {name: np.asarray(trained[name] - received[name]) for name in received}

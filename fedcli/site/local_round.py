"""LocalTraining in a round: receive φ(t-1), score it, train, score every epoch's model, and take the difference.

Until the update is sealed in the outbox, everything lies in the workspace's training/round-NNNN: the checkpoint, and the best
model so far. A run that was cut off scores the received model again and goes on from the checkpoint.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedcli import tensors
from fedcli.learning.networks import batch_statistics, registry
from fedcli.learning.seeds import derive_seed
from fedcli.plan import OptimizerState, Part, Statistics
from fedcli.site import selection
from fedcli.site.learner import require_images
from fedcli.site.local_training import Job, Keeping, lead
from fedcli.site.selection import Origin, Selection

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.records import ValidationScore
    from fedcli.learning.training.checkpoint import Checkpoint
    from fedcli.learning.training.epochs import Outcome
    from fedcli.party.party import Party
    from fedcli.site.learner import Arrays, Learner


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What local training made.

    Attributes:
        delta: Δφ(t).
        received: φ(t-1) on the site's validation patients.
        trained: The site's own model.
        outcome: Steps, loss, Adam's moments.
        best: The best model so far.
        checkpoint: Where the training is kept until its update is sealed.
        statistics: The site's own BatchNorm layers, where they stay; else empty.
    """

    delta: Arrays
    received: ValidationScore
    trained: ValidationScore
    outcome: Outcome
    best: Selection
    checkpoint: Checkpoint
    statistics: Arrays


def train(party: Party, learner: Learner, number: int) -> Trained:
    """Run LocalTraining; every random choice comes from (plan seed, site, round)."""
    samples, plan = learner.samples(Part.TRAIN), learner.plan
    require_images(samples, party.name, Part.TRAIN)
    parent, before = party.folder.ledger.rounds[number - 1], selection.newest_state(party.workspace)
    start = party.folder.global_model(number - 1, learner.layout)
    checkpoint = _checkpoint(learner, number, start)
    best = Selection.resume(checkpoint.folder, before)
    published = learner.load(start)
    received = receive(learner, published, before, best, number - 1, parent.digest)
    scores: list[ValidationScore] = []

    def score(epoch: int) -> None:
        where = f"round {number}, epoch {epoch}" if plan.training.epochs > 1 else f"round {number}"
        learner.recalibrate(f"{where}, statistics of the trained model")
        scores.append(learner.validate(f"{where}, trained model on validation patients"))
        best.offer(registry.to_arrays(learner.module), number, Origin.TRAINED, scores[-1].kappa, parent.digest)

    job = Job(
        plan=plan,
        training=plan.training,
        data=learner.data.digest,
        seed=derive_seed(plan.seed, learner.site, "round", number),
        rates=(plan.training.rate_in(number),) * plan.training.epochs,
    )
    label = f"{learner.site}: round {number} of {plan.rounds}, training"
    state = _kept(before, selection.OPTIMIZER) if plan.training.optimizer_state is OptimizerState.KEEP else None
    outcome = lead(learner, job, Keeping(label=label, checkpoint=checkpoint, on_epoch=score, optimizer_state=state))
    trained = registry.to_arrays(learner.module)
    own = {name: trained[name] for name in _own(learner)}
    delta = difference(published, trained | {name: published[name] for name in own})
    return Trained(
        delta=delta, received=received, trained=scores[-1], outcome=outcome, best=best, checkpoint=checkpoint, statistics=own
    )


def receive(learner: Learner, published: Arrays, before: Path | None, best: Selection, number: int, base: str) -> ValidationScore:
    """Make φ(number) in the network what this site uses, score it, and offer it.

    Where the plan leaves BatchNorm at the site, the site's own layers replace those received; where it says so, the statistics
    are measured anew.
    """
    own = _own(learner)
    kept = _kept(before, selection.STATISTICS) if own else None
    if kept is not None:
        registry.load_arrays(learner.module, published | kept)
    learner.recalibrate(f"round {number + 1}, statistics of the received model")
    score = learner.validate(f"round {number + 1}, received model on validation patients")
    best.offer(registry.to_arrays(learner.module), number, Origin.RECEIVED, score.kappa, base)
    return score


def _own(learner: Learner) -> frozenset[str]:
    """Return the names of the tensors that stay at the site."""
    local = learner.plan.training.statistics is Statistics.LOCAL
    return batch_statistics.names(learner.module) if local else frozenset()


def _kept(before: Path | None, name: str) -> Arrays | None:
    """Return what the newest round left under a name, if it did."""
    return tensors.read(before / name) if before is not None and (before / name).is_file() else None


def _checkpoint(learner: Learner, number: int, start: Path) -> Checkpoint:
    """Return this round's checkpoint; those of other rounds, which were closed meanwhile, are removed."""
    checkpoint = learner.checkpoint(f"round-{number:04d}", start)
    for folder in checkpoint.folder.parent.glob("round-*"):
        if folder != checkpoint.folder:
            shutil.rmtree(folder)
    return checkpoint


def difference(received: Arrays, trained: Arrays) -> Arrays:
    """Return Δφ = φ_k(t) - φ(t-1), tensor by tensor in the tensors' own dtypes."""
    return {name: np.asarray(trained[name] - received[name]) for name in received}

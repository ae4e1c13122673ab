"""A site's part of a round: LocalTraining(φ(t-1)) → (Δφ(t), n_k), the client's lines of Algorithm 1.

verify → fetch φ(t-1) → score it on local validation patients → train → keep the best local model → Δφ → outbox → publish. After
the last round φ(T) is scored as a candidate too, and the federation is finished.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedcli import tensors
from fedcli.errors import TrainingError
from fedcli.exchange import layout
from fedcli.exchange.records import DatasetRecord, Role, UpdateRecord, ValidationScore
from fedcli.learning import networks, training
from fedcli.learning.seeds import derive_seed
from fedcli.operations import selection
from fedcli.operations.learner import Learner, require_images
from fedcli.operations.party import Party, Status, artifact_of, parcel
from fedcli.operations.selection import Origin, Selection
from fedcli.plan import OptimizerState, Part
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.outbox import Parcel
    from fedcli.learning.training import Outcome
    from fedcli.operations.learner import Arrays
    from fedcli.operations.party import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRoundResult:
    """What a site did in a round; null where the command had nothing to train.

    Attributes:
        round: The round that the command was about.
        rounds: All rounds of the plan.
        steps: n_k.
        received: φ(t-1) on the site's validation patients.
        trained: The site's own model after training.
        best_round: Round of the best model so far.
        best_kappa: Its validation kappa.
        seconds: Duration of training.
    """

    status: Status
    message: str
    site: str
    round: int
    rounds: int
    steps: int | None = None
    received: ValidationScore | None = None
    trained: ValidationScore | None = None
    best_round: int | None = None
    best_kappa: float | None = None
    seconds: float | None = None


def train_round(root: Path, environment: Environment) -> TrainRoundResult:
    """Do this site's part of the round that is open, if it is not done yet.

    Raises:
        ApprovalError: The operator has not approved the plan in force.
        TrustError: The drop folder does not verify.
        DataError: The prepared data do not fit the plan.
        TrainingError: Training produced something that must not leave.
    """
    party = Party.open(root, WorkspaceRole.SITE, environment)
    with party.workspace.locked():
        sent = party.finish_outbox()
        party.folder.synchronise()
        number = party.folder.ledger.newest_round + 1
        if waiting := _reason_to_wait(party, number, sent):
            return waiting
        plan = party.approved_plan()
        learner = Learner(party.workspace, plan, environment.progress)
        if number > plan.rounds:
            return _finish(party, learner, number)
        return _train(party, learner, number)


def _reason_to_wait(party: Party, number: int, sent: tuple[str, ...]) -> TrainRoundResult | None:
    """Return why there is nothing to train, or None."""
    rounds = party.plan.rounds
    federation = party.folder.ledger.in_force(number).record
    key = party.signer.verify_key.line
    if all(member.site != party.name or all(item.public_key != key for item in member.keys) for member in federation.members):
        message = f"{party.name} is not admitted yet; the coordinator runs fedcli admit {party.name}"
        return TrainRoundResult(status=Status.WAITING, message=message, site=party.name, round=number, rounds=rounds)
    if number > rounds:
        return None
    if party.folder.update(party.name, number) is None:
        return None
    message = f"{party.name} has published its update of round {number} of {rounds}; now it is the coordinator's turn"
    status = Status.PUBLISHED if f"round-{number:04d}" in sent else Status.WAITING
    best = _best_so_far(party)
    return TrainRoundResult(
        status=status, message=message, site=party.name, round=number, rounds=rounds, best_round=best[0], best_kappa=best[1]
    )


def _train(party: Party, learner: Learner, number: int) -> TrainRoundResult:
    """Train, and publish the update."""
    samples = learner.samples(Part.TRAIN)
    require_images(samples, party.name, Part.TRAIN)
    parent = party.folder.ledger.rounds[number - 1]
    before = selection.newest_state(party.workspace)
    draft = party.outbox.draft(f"round-{number:04d}")
    best = Selection.resume(draft.state, before)

    received = learner.load(party.folder.global_model(number - 1))
    received_score = learner.validate(f"round {number}, received model on validation patients")
    best.offer(received, number - 1, Origin.RECEIVED, received_score.kappa, parent.digest)

    outcome = _local_training(learner, number, before)
    trained = networks.to_arrays(learner.module)
    trained_score = learner.validate(f"round {number}, trained model on validation patients")
    best.offer(trained, number, Origin.TRAINED, trained_score.kappa, parent.digest)
    if learner.plan.training.optimizer_state is OptimizerState.KEEP:
        tensors.write(draft.state / selection.OPTIMIZER, outcome.optimizer_state)

    delta = difference(received, trained)
    dataset, dataset_parcel = _dataset(party, learner)
    key = layout.update(party.name, number)
    artifact = artifact_of(key, Role.UPDATE, tensors.write(draft.folder / "update", delta))
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
        norm=euclidean_norm(delta),
        seconds=round(outcome.seconds, 1),
        device=str(learner.device),
        threads=torch.get_num_threads(),
        artifacts=(artifact,),
    )
    party.seal(draft, *dataset_parcel, parcel(key, record, (artifact, draft.folder / "update")))
    selection.forget_older_states(party.workspace)
    party.folder.forget_artifacts()
    shown = f"validation kappa {_kappa(received_score)} received, {_kappa(trained_score)} trained"
    best_round, best_kappa = _best_so_far(party)
    return TrainRoundResult(
        status=Status.PUBLISHED,
        message=f"{party.name} trained round {number} of {learner.plan.rounds}: {outcome.steps} steps, {shown}",
        site=party.name,
        round=number,
        rounds=learner.plan.rounds,
        steps=outcome.steps,
        received=received_score,
        trained=trained_score,
        best_round=best_round,
        best_kappa=best_kappa,
        seconds=round(outcome.seconds, 1),
    )


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


def _finish(party: Party, learner: Learner, number: int) -> TrainRoundResult:
    """Score φ(T) as a candidate, once; the outcome stays in the workspace."""
    name = f"round-{number:04d}"
    if not party.workspace.path("state", name).is_dir():
        last = party.folder.ledger.rounds[number - 1]
        draft = party.outbox.draft(name)
        best = Selection.resume(draft.state, selection.newest_state(party.workspace))
        received = learner.load(party.folder.global_model(number - 1))
        score = learner.validate("final global model on validation patients")
        best.offer(received, number - 1, Origin.RECEIVED, score.kappa, last.digest)
        party.seal(draft)
        selection.forget_older_states(party.workspace)
    best_round, best_kappa = _best_so_far(party)
    return TrainRoundResult(
        status=Status.FINISHED,
        message=f"All {learner.plan.rounds} rounds are done; next: fedcli finetune --from initial, finetune, evaluate",
        site=party.name,
        round=number - 1,
        rounds=learner.plan.rounds,
        best_round=best_round,
        best_kappa=best_kappa,
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
    for name, value in delta.items():
        if not np.isfinite(value).all():
            msg = f"the update is not finite in tensor {name}; nothing leaves"
            raise TrainingError(msg, hint="a lower training.rate may help")
    return delta


def euclidean_norm(delta: Arrays) -> float:
    """Return the norm of all float tensors together."""
    return math.sqrt(
        math.fsum(float(np.square(value, dtype=np.float64).sum()) for value in delta.values() if value.dtype.kind == "f")
    )


def _best_so_far(party: Party) -> tuple[int | None, float | None]:
    folder = selection.newest_state(party.workspace)
    if folder is None:
        return None, None
    best = selection.read_best(folder)
    return best.round, best.kappa


def _kappa(score: ValidationScore) -> str:
    return "undefined" if score.kappa is None else f"{score.kappa:.3f}"

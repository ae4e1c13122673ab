"""Local training beside the federation.

The paper's second step continues from the site's best federated model, `--from best`. Its baseline, the local-only model, is
`--from initial`: from φ(0), as many epochs as there are rounds, epoch e at round e's rate, the optimizer's state kept. In both
cases every epoch's model is scored on the validation patients, and the best is kept in the workspace for `evaluate`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass as checked_dataclass

from fedcli import disk, wire
from fedcli.disk import write_whole
from fedcli.errors import UsageError
from fedcli.exchange.lineage import leads
from fedcli.exchange.records import ModelKind
from fedcli.learning.networks import weights
from fedcli.learning.seeds import derive_seed
from fedcli.party.party import Party
from fedcli.plan import Part
from fedcli.results import Result, Status
from fedcli.site import selection
from fedcli.site.learner import Learner, require_images
from fedcli.site.processes import gathered
from fedcli.site.selection import Origin, Selection
from fedcli.site.training_job import TrainingJob, run_job
from fedcli.wire import STRICT, Digest
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.plan import Plan


_INPUTS = "provenance.json"


class Start(StrEnum):
    """The model from which local training starts."""

    BEST = "best"
    INITIAL = "initial"


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TrainingInputs:
    """What a local training depends on; the same inputs give the same model.

    Attributes:
        source: Digest of the model's file that training started from.
        plan: Digest of the plan.
        data: Digest of the prepared data.
    """

    source: Digest
    plan: Digest
    data: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneRequest:
    """What to train.

    Attributes:
        root: The site's workspace.
        start: The model to start from.
        devices: How many devices train together.
    """

    root: Path
    start: Start = Start.BEST
    devices: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneResult(Result):
    """The best model of a local training.

    Attributes:
        kind: local or finetuned.
        epochs: Epochs trained.
        best_epoch: Epoch of the best model; 0 is the model that training started from.
        start_kappa: Validation kappa of the starting model.
        best_kappa: Validation kappa of the best one.
        seconds: Duration; null if an earlier run had trained it.
    """

    site: str
    kind: ModelKind
    epochs: int
    best_epoch: int
    start_kappa: float | None
    best_kappa: float | None
    seconds: float | None


def finetune(request: FinetuneRequest, environment: Environment) -> FinetuneResult:
    """Train locally, unless the same training has been done.

    Raises:
        UsageError: There is no model to start from yet.
        ApprovalError: The operator has not approved the plan in force.
        DataError: The prepared data do not fit the plan.
        KeyboardInterrupt: It was interrupted; the next run continues.
    """
    with Party.at_work(request.root, WorkspaceRole.SITE, environment) as party:
        plan = party.approved_plan()
        with gathered(party.workspace, request.devices) as replicas:
            learner = Learner(party.workspace, plan, environment.progress, replicas)
            kind = ModelKind.LOCAL if request.start is Start.INITIAL else ModelKind.FINETUNED
            source, base = _source(party, request.start)
            inputs = TrainingInputs(source=disk.measure(source).sha256, plan=plan.digest, data=learner.data.digest)
            target = selection.own_model_folder(party.workspace, kind)
            if (target / _INPUTS).is_file() and (target / _INPUTS).read_bytes() == wire.encode(inputs):
                return _result(party, learner, kind, None, None)
            start_kappa, seconds = _finetune(learner, kind, source, base, inputs, target)
            return _result(party, learner, kind, start_kappa, seconds)


def _source(party: Party, start: Start) -> tuple[Path, str]:
    """Return the file of the model to start from, and the digest of the round record behind it."""
    if start is Start.INITIAL:
        return party.folder.global_model(0), party.ledger.rounds[0].digest
    state = selection.newest_state(party.workspace)
    if state is None:
        msg = f"{party.name}: there is no federated model in this workspace yet"
        raise UsageError(msg, hint=f"run `{party.command('train-round')}` first, or start from φ(0) with --from initial")
    path, _ = selection.best_weights(state)
    base = selection.read_best(state).base
    if not leads(party.ledger.rounds, base):
        msg = f"{party.name}: the best federated model started from a round that a restart has given up"
        raise UsageError(msg, hint=f"run `{party.command('train-round')}` first")
    return path, base


def _finetune(
    learner: Learner, kind: ModelKind, source: Path, base: str, inputs: TrainingInputs, target: Path
) -> tuple[float | None, float]:
    """Train, and save the best model; return the starting model's validation kappa and the duration."""
    plan = learner.plan
    require_images(learner.samples(Part.TRAIN), learner.site, Part.TRAIN)
    checkpoint = learner.checkpoint(kind.value, source)
    best = Selection.resume(checkpoint.folder, None)
    learner.load(source)
    start = learner.validate(f"{kind.word}, starting model on validation patients")
    best.offer(weights.to_arrays(learner.module), 0, Origin.RECEIVED, learner.choice_kappa(start), base)

    def score(epoch: int) -> None:
        learner.recalibrate(f"{kind.word}, epoch {epoch}, statistics")
        trained = learner.validate(f"{kind.word}, epoch {epoch} on validation patients")
        best.offer(weights.to_arrays(learner.module), epoch, Origin.TRAINED, learner.choice_kappa(trained), base)

    job = TrainingJob(
        plan=plan,
        training=replace(plan.training, proximal=0.0),  # FedProx's term is about the rounds
        data=learner.data.digest,
        seed=derive_seed(plan.seed, learner.site, kind.value),
        rates=_rates(plan, kind),
    )
    result = run_job(learner, job, label=f"{learner.site}: {kind.word}", checkpoint=checkpoint, on_epoch=score)
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    best.copy(draft)
    write_whole(draft / _INPUTS, wire.encode(inputs))
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
    checkpoint.remove()
    return start.kappa, result.seconds


def _rates(plan: Plan, kind: ModelKind) -> tuple[float, ...]:
    """Return the rate of each epoch."""
    if kind is ModelKind.LOCAL:
        return tuple(plan.training.rate_in(number) for number in range(1, plan.rounds + 1) for _ in range(plan.training.epochs))
    return (plan.finetuning.rate,) * plan.finetuning.epochs


def _result(party: Party, learner: Learner, kind: ModelKind, start_kappa: float | None, seconds: float | None) -> FinetuneResult:
    best = selection.read_best(selection.own_model_folder(party.workspace, kind))
    kappa = "undefined" if best.kappa is None else f"{best.kappa:.3f}"
    origin = "the starting model" if best.round == 0 else f"epoch {best.round}"
    again = " (trained by an earlier run)" if seconds is None else ""
    return FinetuneResult(
        status=Status.DONE,
        message=(
            f"{party.name}: best {kind.word} model: {origin}, validation kappa {kappa}{again}; "
            f"next: `{party.command('evaluate')}`"
        ),
        site=learner.site,
        kind=kind,
        epochs=len(_rates(learner.plan, kind)),
        best_epoch=best.round,
        start_kappa=start_kappa,
        best_kappa=best.kappa,
        seconds=None if seconds is None else round(seconds, 1),
    )

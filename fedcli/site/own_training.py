"""Training of a site's own model beside the federation: epoch by epoch, each scored, the best kept in the workspace."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from fedcli.disk import write_whole
from fedcli.exchange.records import ModelKind
from fedcli.learning.networks import weights
from fedcli.learning.seeds import derive_seed
from fedcli.plan import Part
from fedcli.site import selection
from fedcli.site.learner import Learner
from fedcli.site.own_model import own_model_folder
from fedcli.site.processes import gathered
from fedcli.site.selection import Origin, Selection
from fedcli.site.site_data import require_images
from fedcli.site.training_job import TrainingJob, run_job

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.party.party import Party


def train_own_model(
    party: Party, kind: ModelKind, start: tuple[Path, str], rates: tuple[float, ...], provenance: bytes, devices: int
) -> tuple[float | None, float]:
    """Train, and save the best model; return the starting model's validation kappa and the duration.

    Args:
        party: The site.
        kind: The model's kind.
        start: The file of the model to start from, and the digest of the round record behind it.
        rates: Of each epoch.
        provenance: What the training depends on, to be saved beside the model.
        devices: How many devices train together.
    """
    with gathered(party.workspace, devices) as replicas:
        learner = Learner(party.workspace, party.approved_plan(), party.environment.progress, replicas)
        return _train(learner, kind, start, rates, own_model_folder(party.workspace, kind), provenance)


def _train(
    learner: Learner, kind: ModelKind, start: tuple[Path, str], rates: tuple[float, ...], target: Path, provenance: bytes
) -> tuple[float | None, float]:
    plan, (source, base) = learner.plan, start
    require_images(learner.samples(Part.TRAIN), learner.site, Part.TRAIN)
    checkpoint = learner.checkpoint(kind.value, source)
    best = Selection.resume(checkpoint.folder, plan.evaluation.choice, None)
    learner.load(source)
    before = learner.validate(f"{kind.word}, starting model on validation patients")
    if kind is ModelKind.FINETUNED:  # the local-only baseline starts from φ(0), which nobody has trained
        best.offer(weights.to_arrays(learner.module), 0, Origin.RECEIVED, learner.merit(before), base)

    def score(epoch: int) -> None:
        learner.recalibrate(f"{kind.word}, epoch {epoch}, statistics")
        trained = learner.validate(f"{kind.word}, epoch {epoch} on validation patients")
        best.offer(weights.to_arrays(learner.module), epoch, Origin.TRAINED, learner.merit(trained), base)

    job = TrainingJob(
        plan=plan,
        training=replace(plan.training, proximal=0.0),  # FedProx's term is about the rounds
        data=learner.data.digest,
        seed=derive_seed(plan.seed, learner.site, kind.value),
        rates=rates,
    )
    result = run_job(learner, job, label=f"{learner.site}: {kind.word}", checkpoint=checkpoint, on_epoch=score)
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    best.copy(draft)
    write_whole(draft / selection.PROVENANCE, provenance)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
    checkpoint.remove()
    return before.kappa, result.seconds

"""One local training, as every process that takes part in it is told: in a round, or beside the federation."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import wire
from fedcli.errors import ConfigurationError, DataError
from fedcli.learning.training import epochs
from fedcli.plan import Part, Plan, Statistics, Training
from fedcli.site.interruption import postponed
from fedcli.wire import STRICT, Digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.learning.training.checkpoint import Checkpoint
    from fedcli.learning.training.epochs import Outcome
    from fedcli.site.learner import Arrays, Learner


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Job:
    """What to train.

    Attributes:
        plan: The plan in force.
        training: Its settings of training, but for what this training has otherwise.
        data: Digest of the prepared data.
        seed: Of every random choice.
        rates: Learning rate of each epoch.
    """

    plan: Plan
    training: Training
    data: Digest
    seed: Annotated[int, Field(ge=0, lt=1 << 63)]
    rates: Annotated[tuple[float, ...], Field(min_length=1)]


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What the first process does besides.

    Attributes:
        label: What the progress is called.
        checkpoint: Where the training is kept.
        on_epoch: Called after every epoch.
        optimizer_state: Adam's moments to begin with; None begins anew.
    """

    label: str
    checkpoint: Checkpoint
    on_epoch: Callable[[int], None]
    optimizer_state: Arrays | None = None


def lead(learner: Learner, job: Job, keeping: Keeping) -> Outcome:
    """Train in the first process, the weights in the network being the start.

    Raises:
        KeyboardInterrupt: It was interrupted, and goes on when the command is run again.
        ConfigurationError: The devices cannot do that together.
    """
    replicas = learner.replicas
    if replicas.size > 1 and learner.device.type == "cuda" and job.training.statistics is Statistics.RECALIBRATE:
        msg = "training.statistics = recalibrate and several GPUs do not go together"
        raise ConfigurationError(msg, hint="train on one GPU")
    replicas.tell(wire.encode(job))
    return _train(learner, job, keeping)


def follow(learner: Learner, job: Job) -> None:
    """Do another process's share.

    Raises:
        DataError: It has other data.
    """
    if learner.data.digest != job.data:
        msg = f"process {learner.replicas.rank}: the prepared data are not those of the first process"
        raise DataError(msg, hint="every machine must see the same workspace")
    _train(learner, job, None)


def _train(learner: Learner, job: Job, keeping: Keeping | None) -> Outcome:
    with postponed() as interrupted:
        return epochs.train(
            learner.module,
            learner.samples(Part.TRAIN),
            job.training,
            job.plan.augmentation,
            seed=job.seed,
            rates=job.rates,
            device=learner.device,
            progress=learner.progress,
            label=keeping.label if keeping else "training",
            optimizer_state=keeping.optimizer_state if keeping else None,
            on_epoch=keeping.on_epoch if keeping else None,
            checkpoint=keeping.checkpoint if keeping else None,
            interrupted=interrupted,
            replicas=learner.replicas,
        )

"""One local training, shared by all processes that take part: in a round, or outside of the rounds, and stopped cleanly.

SIGTERM, SIGINT and SIGHUP, which Slurm, cron's time-outs and Ctrl-C send, are heeded at the next good moment.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import wire
from fedcli.errors import ConfigurationError, DataError
from fedcli.learning.training.local_training import LocalTraining
from fedcli.learning.training.mechanism import Mechanism
from fedcli.learning.training.private import PrivateTraining
from fedcli.plan import Part, Plan, Statistics, Training
from fedcli.wire import STRICT, Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from fedcli.learning.training.checkpoint import Checkpoint
    from fedcli.learning.training.local_training import TrainingResult
    from fedcli.learning.training.private import PrivateTrainingResult
    from fedcli.site.learner import Learner
    from fedcli.tensors import Arrays


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TrainingJob:
    """What to train: the first process sends this to the others.

    Attributes:
        plan: The plan in force.
        training: Its settings of training, with what differs in this training.
        data: Digest of the prepared data.
        seed: Of every random choice.
        rates: Learning rate of each epoch.
        declared: N₀ of a private training, whose mechanism is the plan's; 0 for a plain one.
    """

    plan: Plan
    training: Training
    data: Digest
    seed: Annotated[int, Field(ge=0, lt=1 << 63)]
    rates: Annotated[tuple[float, ...], Field(min_length=1)]
    declared: Annotated[int, Field(ge=0)] = 0


def run_job(
    learner: Learner,
    job: TrainingJob,
    *,
    label: str,
    checkpoint: Checkpoint,
    on_epoch: Callable[[int], None],
    optimizer_state: Arrays | None = None,
) -> TrainingResult | PrivateTrainingResult:
    """Train the learner's network in the first process, after the others have been sent the job.

    Raises:
        KeyboardInterrupt: It was interrupted; the same command resumes it.
        ConfigurationError: Several devices cannot do this together.
    """
    replicas = learner.replicas
    if replicas.size > 1 and learner.device.type == "cuda" and job.training.statistics is Statistics.RECALIBRATE:
        msg = 'training.statistics = "recalibrate" cannot be used with several GPUs'
        raise ConfigurationError(msg, hint="train on one GPU")
    with postponed() as interrupted:
        replicas.broadcast_message(wire.encode(job))
        training = _training(learner, job, optimizer_state, checkpoint)
        return training.run(learner.progress, label=label, on_epoch=on_epoch, interrupted=interrupted)


def join_job(learner: Learner, job: TrainingJob) -> None:
    """Do the share of another process.

    Raises:
        DataError: It has other data than the first process.
    """
    if learner.data.digest != job.data:
        msg = f"process {learner.replicas.rank}: the prepared data are not those of the first process"
        raise DataError(msg, hint="every machine must see the same workspace")
    with postponed() as interrupted:
        _training(learner, job).run(learner.progress, interrupted=interrupted)


def _training(
    learner: Learner, job: TrainingJob, optimizer_state: Arrays | None = None, checkpoint: Checkpoint | None = None
) -> LocalTraining | PrivateTraining:
    if job.declared:
        return _private_training(learner, job, optimizer_state, checkpoint)
    return LocalTraining(
        learner.module,
        learner.samples(Part.TRAIN),
        job.training,
        job.plan.augmentation,
        seed=job.seed,
        rates=job.rates,
        device=learner.device,
        optimizer_state=optimizer_state,
        checkpoint=checkpoint,
        replicas=learner.replicas,
    )


def _private_training(
    learner: Learner, job: TrainingJob, optimizer_state: Arrays | None, checkpoint: Checkpoint | None
) -> PrivateTraining:
    """Return a training whose random numbers come from a key of its own, and none from the job's seed."""
    return PrivateTraining(
        learner.module,
        learner.samples(Part.TRAIN),
        job.training,
        job.plan.augmentation,
        Mechanism.planned(job.plan.privacy, job.declared),
        rates=job.rates,
        device=learner.device,
        optimizer_state=optimizer_state,
        checkpoint=checkpoint,
        replicas=learner.replicas,
    )


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def postponed() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether to stop; the first signal only makes it so, a second one interrupts at once.

    Outside the main thread, where Python takes no signals, it never does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if number != signal.SIGHUP or handler != signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, note)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

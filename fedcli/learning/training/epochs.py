"""LocalTraining of Algorithm 1: what a site does with φ(t-1) before it sends Δφ(t) and n_k.

On a CPU the result depends on the weights, the samples, the settings and the seed alone, for one thread count and one version
of torch: two runs end with the same bits, and so does one that was interrupted and goes on. For that every epoch and every step
is seeded by its own number; weights and Adam's moments are all that a checkpoint has to hold.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from fedcli.errors import DataError, TrainingError
from fedcli.learning.determinism import reproducible, reseed
from fedcli.learning.networks.precision import computing
from fedcli.learning.networks.registry import load_arrays, to_arrays
from fedcli.learning.seeds import derive_seed
from fedcli.learning.training.batch_loader import Feed
from fedcli.learning.training.batches import num_steps
from fedcli.learning.training.checkpoint import Snapshot
from fedcli.learning.training.data_parallel import ALONE
from fedcli.learning.training.losses import Objective
from fedcli.learning.training.optimizers import adam, restore_state, set_rate, state_arrays
from fedcli.learning.training.proximal import Proximal
from fedcli.learning.training.speed import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from fedcli.learning.samples import Samples
    from fedcli.learning.training.batch_loader import Batch
    from fedcli.learning.training.checkpoint import Checkpoint
    from fedcli.learning.training.data_parallel import Replicas
    from fedcli.plan import Augmentation, Training
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a training did, besides changing the module's weights; an interrupted run's part counts.

    Attributes:
        steps: n_k, the local iterations: optimizer steps over all epochs.
        images: Images seen, repetitions counted.
        loss: Mean training loss over the steps, without FedProx's term.
        optimizer_state: Adam's moments, for `optimizer_state` of the next call.
        seconds: Spent in steps.
    """

    steps: int
    images: int
    loss: float
    optimizer_state: dict[str, NDArray[Any]]
    seconds: float


def train(
    module: nn.Module,
    samples: Samples,
    training: Training,
    augmentation: Augmentation,
    *,
    seed: int,
    rates: Sequence[float],
    device: torch.device,
    progress: Progress,
    label: str = "training",
    optimizer_state: Mapping[str, NDArray[Any]] | None = None,
    on_epoch: Callable[[int], None] | None = None,
    checkpoint: Checkpoint | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    replicas: Replicas = ALONE,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Minimise L_k(X_k; φ(t-1)) by Adam over augmented mini-batches; the module is moved and changed in place.

    Args:
        module: Holds φ(t-1) before and the trained weights after.
        samples: X_k, the site's training images.
        training: How batches are drawn and steps are taken; rates and epochs are those given here.
        augmentation: How images are changed at random.
        seed: From the plan's seed, site, round and purpose (`derive_seed`).
        rates: Adam's learning rate of each epoch: as many epochs as rates.
        device: Where to compute.
        progress: Told of every step.
        label: What the progress is called.
        optimizer_state: From the call before, or None to start anew.
        on_epoch: Called with an epoch's number, from 1, when it is done; may score the module, and not change its weights. In a
            run that goes on it is called again for an epoch whose end was the last checkpoint.
        checkpoint: Where this training is kept, and was interrupted; None keeps nothing.
        interrupted: Asked after every step whether to stop.
        replicas: The processes that share the work; all of them call this at once, with the same arguments, but only the first
            listens, scores and keeps.
        clock: Seconds from any origin.

    Raises:
        DataError: There are no images.
        TrainingError: A loss or a weight is not finite; the module must not be used.
        ConfigurationError: The optimizer state belongs to another network, or there are more processes than images in a batch.
        KeyboardInterrupt: It was interrupted; the checkpoint is written.
    """
    if not len(samples):
        msg = "there are no training images"
        raise DataError(msg)
    replicas.require_shares(training.batch_size)
    run = _Run(module, samples, training, augmentation, device, replicas)
    seconds = run.begin(checkpoint.found if checkpoint else None, optimizer_state)
    steps = num_steps(len(samples), training)
    pace = Pace((len(rates) - run.epoch + 1) * steps - run.step, training.batch_size, clock)

    def keep() -> None:
        if checkpoint is not None:
            checkpoint.write(run.snapshot(seconds + pace.seconds))

    for epoch, rate in list(enumerate(rates, 1))[run.epoch - 1 :]:
        epoch_seed = derive_seed(seed, epoch)
        name = label if len(rates) == 1 else f"{label}, epoch {epoch} of {len(rates)}"
        set_rate(run.optimizer, rate)
        with reproducible(epoch_seed, device), progress.track(name, steps, "steps") as advance:
            advance(run.step, "")
            pace.start()
            for batch in run.feed.epoch(epoch_seed, run.step):
                loss, stop = run.take(batch, epoch, epoch_seed, stop=interrupted())
                advance(1, f"loss {loss:.3f}{pace.step()}")
                if stop:
                    keep()
                    raise KeyboardInterrupt
                if checkpoint is not None and checkpoint.is_due():
                    keep()
        keep()
        if on_epoch is not None:
            on_epoch(epoch)
        run.epoch, run.step = epoch + 1, 0
    _check_weights(module)
    return Outcome(
        steps=len(run.losses),
        images=len(run.losses) * training.batch_size,
        loss=math.fsum(run.losses) / len(run.losses),
        optimizer_state=state_arrays(run.optimizer, module),
        seconds=seconds + pace.seconds,
    )


class _Run:
    """A training under way: what a step needs, and where it stands."""

    def __init__(
        self,
        module: nn.Module,
        samples: Samples,
        training: Training,
        augmentation: Augmentation,
        device: torch.device,
        replicas: Replicas,
    ) -> None:
        self.module = module.to(device).to(memory_format=torch.channels_last)
        if replicas.size > 1:  # φ(t-1) in all of them: FedProx's term is about that
            load_arrays(module, replicas.agree(to_arrays(module)))
        self.optimizer = adam(module, rate=training.rate, weight_decay=training.weight_decay)
        dtype = next(module.parameters()).dtype
        self.feed = Feed(
            samples=samples, training=training, augmentation=augmentation, device=device, dtype=dtype, replicas=replicas
        )
        self.epoch, self.step = 1, 0
        self.losses: list[float] = []
        self._objective = Objective(training, samples.labels, samples.num_classes)
        self._proximal = Proximal(module, training.proximal)
        self._network = module

    def begin(self, snapshot: Snapshot | None, optimizer_state: Mapping[str, NDArray[Any]] | None) -> float:
        """Go to the beginning, or to where a snapshot stands, in all processes; return the seconds spent before."""
        replicas = self.feed.replicas
        if snapshot is not None:
            load_arrays(self.module, snapshot.weights)
            self.epoch, self.step, self.losses = snapshot.epoch, snapshot.step, list(snapshot.losses)
            optimizer_state = snapshot.optimizer_state
        if optimizer_state is not None:
            restore_state(self.optimizer, self.module, optimizer_state)
        if replicas.size > 1:
            restore_state(self.optimizer, self.module, replicas.agree(state_arrays(self.optimizer, self.module)))
            self.epoch, self.step = replicas.agree({"place": np.array([self.epoch, self.step])})["place"].tolist()
        self._network = replicas.replicate(self.module, self.feed.device)
        return snapshot.seconds if snapshot else 0.0

    def snapshot(self, seconds: float) -> Snapshot:
        """Return where the training stands."""
        return Snapshot(
            epoch=self.epoch,
            step=self.step,
            seconds=seconds,
            losses=tuple(self.losses),
            weights=to_arrays(self.module),
            optimizer_state=state_arrays(self.optimizer, self.module),
        )

    def take(self, batch: Batch, epoch: int, seed: int, *, stop: bool) -> tuple[float, bool]:
        """Take one step down the gradient; return the loss before it, and whether any process is to stop."""
        training, replicas = self.feed.training, self.feed.replicas
        reseed(derive_seed(seed, "network", self.step, replicas.rank), self.feed.device)
        self._network.train()
        with computing(training.precision, self.module, self.feed.device):
            logits = self._network(batch.images)
        # Gradients are averaged over the processes, hence the factor: the mean is over the whole batch.
        share = self._objective(logits, batch.labels).sum() / len(batch.indices)
        self.optimizer.zero_grad()
        (share * replicas.size + self._proximal()).backward()  # type: ignore[no-untyped-call]
        if training.clip_gradient:
            nn.utils.clip_grad_norm_(self.module.parameters(), training.clip_gradient)
        self.optimizer.step()
        self.step += 1
        loss, stopping = replicas.total(float(share.detach()), float(stop))
        _check_loss(loss, batch, self.feed.samples, f"epoch {epoch}, step {self.step}")
        self.losses.append(loss)
        return loss, stopping > 0


def _check_loss(loss: float, batch: Batch, samples: Samples, place: str) -> None:
    if math.isfinite(loss):
        return
    names = (
        ""
        if samples.patients is None
        else f" on the images of patients {', '.join(sorted(set(samples.patients[batch.indices])))}"
    )
    msg = f"the training loss became {loss} in {place}{names}; nothing of this training may be used"
    raise TrainingError(msg, hint="a lower training.rate may help; if the first step fails, the received model is at fault")


def _check_weights(module: nn.Module) -> None:
    """Refuse what the last step broke, which no later loss would show."""
    for name, tensor in module.state_dict().items():
        if not torch.isfinite(tensor).all():
            msg = f"{name} is not finite after the last step; nothing of this training may be used"
            raise TrainingError(msg, hint="a lower training.rate may help")

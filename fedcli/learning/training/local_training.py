"""LocalTraining of Algorithm 1: what a site does with φ(t-1) before it sends Δφ(t) and n_k.

On a CPU the result depends only on the weights, the samples, the settings and the seed, for one thread count and one version of
torch: two runs end with the same bits, and so does a run that was interrupted and resumed. This is why every epoch and every step
is seeded by its own number; a checkpoint then needs only the weights, Adam's moments and the losses.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from fedcli.errors import DataError, TrainingError
from fedcli.learning.determinism import reproducible, reseed
from fedcli.learning.networks.precision import computing
from fedcli.learning.networks.weights import to_arrays
from fedcli.learning.seeds import derive_seed
from fedcli.learning.training.batch_loader import BatchLoader
from fedcli.learning.training.checkpoint import Snapshot
from fedcli.learning.training.data_parallel import SINGLE_PROCESS, resume
from fedcli.learning.training.losses import Objective, Proximal
from fedcli.learning.training.optimizers import adam, set_rate, state_arrays
from fedcli.learning.training.throughput import Throughput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fedcli.learning.samples import Samples
    from fedcli.learning.training.batch_loader import Batch
    from fedcli.learning.training.checkpoint import Checkpoint
    from fedcli.learning.training.data_parallel import Replicas
    from fedcli.plan import Augmentation, Training
    from fedcli.progress import Progress
    from fedcli.tensors import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a training did, besides changing the network's weights; steps before an interruption count.

    Attributes:
        steps: n_k, the local iterations: optimizer steps over all epochs.
        loss: Mean training loss over the steps, without FedProx's term.
        optimizer_state: Adam's moments, for the `optimizer_state` of the next training.
        seconds: Spent in steps.
    """

    steps: int
    loss: float
    optimizer_state: Arrays
    seconds: float


class LocalTraining:
    """Minimises L_k(X_k; φ(t-1)) by Adam over augmented mini-batches.

    Args:
        module: Holds φ(t-1), and the trained weights afterwards; it is moved to the device.
        samples: X_k, the site's training images.
        training: The plan's settings; `rates` replaces its rate and epochs.
        augmentation: How images are changed at random.
        seed: From the plan's seed, site, round and purpose (`derive_seed`).
        rates: Adam's learning rate of each epoch: as many epochs as rates.
        device: Where to compute.
        optimizer_state: Adam's moments from an earlier training; None resets them.
        checkpoint: Where this training is saved and resumed from; None saves nothing.
        replicas: The processes that share the work. All of them construct and run the same training at the same time; only the
            first one reports progress, scores and saves.
        clock: Seconds from any origin.

    Raises:
        DataError: There are no images.
        ConfigurationError: The optimizer state belongs to another network, or there are more processes than images in a batch.
    """

    def __init__(
        self,
        module: nn.Module,
        samples: Samples,
        training: Training,
        augmentation: Augmentation,
        *,
        seed: int,
        rates: Sequence[float],
        device: torch.device,
        optimizer_state: Arrays | None = None,
        checkpoint: Checkpoint | None = None,
        replicas: Replicas = SINGLE_PROCESS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not len(samples):
            msg = "there are no training images"
            raise DataError(msg)
        replicas.require_shares(training.batch_size, module, device)
        self._training, self._seed, self._rates = training, seed, rates
        self._device, self._replicas, self._checkpoint = device, replicas, checkpoint
        self._module = module.to(device).to(memory_format=torch.channels_last)
        replicas.align(module)  # all begin with the first process's φ(t-1), from which FedProx measures
        dtype = next(module.parameters()).dtype
        self._loader = BatchLoader(
            samples=samples, training=training, augmentation=augmentation, device=device, replicas=replicas, dtype=dtype
        )
        self._objective = Objective(training, samples.labels, samples.num_classes)
        self._proximal = Proximal(module, training.proximal)
        self._optimizer = adam(module, rate=training.rate, weight_decay=training.weight_decay)
        snapshot = checkpoint.snapshot if checkpoint else None
        self._losses = list(snapshot.losses) if snapshot else []
        self._epoch, self._step = resume(module, self._optimizer, snapshot, optimizer_state, replicas)
        self._network = replicas.replicate(module, device)
        self._num_steps = training.steps_per_epoch(len(samples))
        left = (len(rates) - self._epoch + 1) * self._num_steps - self._step
        self._throughput = Throughput(left, training.batch_size, clock, seconds=snapshot.seconds if snapshot else 0.0)

    def run(
        self,
        progress: Progress,
        *,
        label: str = "training",
        on_epoch: Callable[[int], None] = lambda _: None,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> TrainingResult:
        """Train for all epochs that are left.

        Args:
            progress: Notified of every step.
            label: What the progress is called.
            on_epoch: Called with an epoch's number, from 1, after it; may score the network, but not change its weights. In a
                resumed run it is called again for an epoch whose end was the last checkpoint.
            interrupted: Asked before every step whether to stop after it.

        Raises:
            TrainingError: A loss or a weight is not finite; the network must not be used.
            KeyboardInterrupt: The training was interrupted; the checkpoint is written.
        """
        while self._epoch <= len(self._rates):
            name = label if len(self._rates) == 1 else f"{label}, epoch {self._epoch} of {len(self._rates)}"
            with progress.track(name, self._num_steps, "steps") as advance:
                advance(self._step, "")
                self._train_epoch(advance, interrupted)
            self._save()
            on_epoch(self._epoch)
            self._epoch, self._step = self._epoch + 1, 0
        require_finite(self._module)
        return TrainingResult(
            steps=len(self._losses),
            loss=math.fsum(self._losses) / len(self._losses),
            optimizer_state=state_arrays(self._optimizer, self._module),
            seconds=self._throughput.seconds,
        )

    def _train_epoch(self, advance: Callable[[int, str], None], interrupted: Callable[[], bool]) -> None:
        """Take the steps of the epoch that are left."""
        seed = derive_seed(self._seed, self._epoch)
        set_rate(self._optimizer, self._rates[self._epoch - 1])
        with reproducible(seed, self._device):
            self._throughput.start()
            for batch in self._loader.epoch(seed, self._step):
                stop = self._take_step(batch, seed, stop=interrupted())
                advance(1, f"loss {self._losses[-1]:.3f}{self._throughput.step()}")
                if stop:
                    self._save()
                    raise KeyboardInterrupt
                if self._checkpoint is not None and self._checkpoint.is_due():
                    self._save()

    def _take_step(self, batch: Batch, seed: int, *, stop: bool) -> bool:
        """Take one step down the gradient; return whether any process is asked to stop."""
        reseed(derive_seed(seed, "network", self._step, self._replicas.rank), self._device)
        self._network.train()
        with computing(self._training.precision, self._module, self._device):
            logits = self._network(batch.images)
        loss = self._objective(logits, batch.labels).sum() / len(batch.indices)
        self._optimizer.zero_grad()
        # The loss is the mean over the whole batch, but gradients are averaged over the processes: hence the factor.
        (loss * self._replicas.size + self._proximal()).backward()  # type: ignore[no-untyped-call]
        if self._training.clip_gradient:
            nn.utils.clip_grad_norm_(self._module.parameters(), self._training.clip_gradient)
        self._optimizer.step()
        self._step += 1
        total, stopping = self._replicas.total(float(loss.detach()), float(stop))
        if not math.isfinite(total):
            raise _divergence(total, f"epoch {self._epoch}, step {self._step}", self._loader.samples, batch)
        self._losses.append(total)
        return stopping > 0

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        snapshot = Snapshot(
            epoch=self._epoch,
            step=self._step,
            seconds=self._throughput.seconds,
            losses=tuple(self._losses),
            weights=to_arrays(self._module),
            optimizer_state=state_arrays(self._optimizer, self._module),
        )
        self._checkpoint.write(snapshot)


def _divergence(loss: float, place: str, samples: Samples, batch: Batch) -> TrainingError:
    patients = () if samples.patients is None else sorted(set(samples.patients[batch.indices]))
    names = f" on the images of patients {', '.join(patients)}" if patients else ""
    msg = f"the training loss became {loss} in {place}{names}; nothing of this training may be used"
    return TrainingError(msg, hint="a lower training.rate may help; if the first step fails, the received model is at fault")


def require_finite(module: nn.Module) -> None:
    """Raise a TrainingError for weights that the last step broke, which no later loss would show."""
    for name, tensor in module.state_dict().items():
        if not torch.isfinite(tensor).all():
            msg = f"{name} is not finite after the last step; nothing of this training may be used"
            raise TrainingError(msg, hint="a lower training.rate may help")

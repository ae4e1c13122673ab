"""LocalTraining of Algorithm 1: what a site does with φ(t-1) before it sends Δφ(t) and n_k.

On a CPU the result depends on the weights, the samples, the settings and the seed alone, for one thread count and one version
of torch: two runs end with the same bits. Every epoch is seeded by its own number, so that a run that goes on from kept weights
and kept optimizer state with epoch e+1 equals one that never stopped.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from fedcli.errors import DataError, TrainingError
from fedcli.learning.augmentation import augment
from fedcli.learning.batches import balanced_epoch, steps_per_epoch
from fedcli.learning.determinism import reproducible
from fedcli.learning.networks import as_input
from fedcli.learning.optimizers import adam, restore_state, state_arrays
from fedcli.learning.seeds import derive_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from fedcli.learning.samples import Samples
    from fedcli.plan import Augmentation, Training
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one call of `train` did, besides changing the module's weights.

    Attributes:
        steps: n_k, the local iterations: optimizer steps over all epochs.
        images: Images seen, repetitions counted.
        loss: Mean training loss over the steps.
        optimizer_state: Adam's moments, for `optimizer_state` of the next call.
        seconds: Duration by the clock, `on_epoch` included.
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
    rate: float,
    epochs: int,
    device: torch.device,
    progress: Progress,
    label: str = "training",
    first_epoch: int = 1,
    optimizer_state: Mapping[str, NDArray[Any]] | None = None,
    on_epoch: Callable[[int], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Minimise L_k(X_k; φ(t-1)) by Adam over class-balanced, augmented mini-batches; the module is moved and changed in place.

    Args:
        module: Holds φ(t-1) before and the trained weights after.
        samples: X_k, the site's training images.
        training: Batch size and weight decay; its rate and epochs are those of a round, and given by the caller.
        augmentation: How images are changed at random.
        seed: From the plan's seed, site, round and purpose (`derive_seed`).
        rate: Adam's learning rate.
        epochs: Passes of ceil(N / B) steps.
        device: Where to compute.
        progress: Told of every step.
        label: What the progress is called.
        first_epoch: Number of the first epoch, above 1 where this call goes on from an earlier one with the same seed.
        optimizer_state: From the call before, or None to start anew.
        on_epoch: Called with an epoch's number when it is done; may score the module, and must not change it.
        clock: Seconds from any origin.

    Raises:
        DataError: There are no images.
        TrainingError: A loss or a weight is not finite; the module must not be used.
        ConfigurationError: The optimizer state belongs to another network.
    """
    if not len(samples):
        msg = "there are no training images"
        raise DataError(msg)
    started = clock()
    module.to(device)
    optimizer = adam(module, rate=rate, weight_decay=training.weight_decay)
    if optimizer_state is not None:
        restore_state(optimizer, module, optimizer_state)
    losses: list[float] = []
    for epoch in range(first_epoch, first_epoch + epochs):
        name = label if epochs == 1 else f"{label}, epoch {epoch}"
        epoch_seed = derive_seed(seed, epoch)
        with (
            reproducible(derive_seed(epoch_seed, "network"), device),
            progress.track(name, steps_per_epoch(len(samples), training.batch_size), "steps") as advance,
        ):
            for loss in _epoch(module, optimizer, samples, training, augmentation, seed=epoch_seed, device=device):
                losses.append(loss)
                _check_loss(loss, step=len(losses))
                advance(1, f"loss {loss:.3f}")
        if on_epoch is not None:
            on_epoch(epoch)
    _check_weights(module, step=len(losses))
    return Outcome(
        steps=len(losses),
        images=len(losses) * training.batch_size,
        loss=math.fsum(losses) / len(losses),
        optimizer_state=state_arrays(optimizer, module),
        seconds=clock() - started,
    )


def _epoch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    samples: Samples,
    training: Training,
    augmentation: Augmentation,
    *,
    seed: int,
    device: torch.device,
) -> Iterator[float]:
    """Yield the loss of each step of one epoch."""
    module.train()
    batches = balanced_epoch(samples.labels, training.batch_size, np.random.default_rng(derive_seed(seed, "batches")))
    generator = torch.Generator().manual_seed(derive_seed(seed, "augmentation"))
    for indices in batches:
        images = augment(as_input(samples.images[indices], module, device), augmentation, generator)
        labels = torch.from_numpy(samples.labels[indices]).to(device)
        yield _step(module, optimizer, images, labels)


def _step(module: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> float:
    """Take one step down the gradient of the paper's loss, L = -Σ_i y_i log(p_i), the mean over the batch; return it."""
    loss = functional.cross_entropy(module(images), labels)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def _check_loss(loss: float, *, step: int) -> None:
    if not math.isfinite(loss):
        msg = f"the training loss became {loss} in step {step}; nothing of this training may be used"
        raise TrainingError(msg, hint="a lower training.rate may help; if the first step fails, the received model is at fault")


def _check_weights(module: nn.Module, *, step: int) -> None:
    """Refuse what the last step broke, which no later loss would show."""
    for name, tensor in module.state_dict().items():
        if not torch.isfinite(tensor).all():
            msg = f"{name} is not finite after step {step}, the last; nothing of this training may be used"
            raise TrainingError(msg, hint="a lower training.rate may help")

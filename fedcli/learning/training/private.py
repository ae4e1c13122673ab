"""Private training: DP-SGD whose unit is the patient, so that no patient's images can be told from the trained weights.

Abadi et al. 2016, "Deep Learning with Differential Privacy", algorithm 1, with these lines in `PrivateTraining._take_step`:

    Take a random sample L_t with sampling probability L/N     `SecretStream.sample`: patients, not images
    Compute gradient g_t(x_i)                                  `_gradient`: one backward pass per patient; the mean loss over
                                                               several images and views of each (De et al. 2022, section 3.2)
    Clip gradient ḡ_t(x_i) = g_t(x_i) / max(1, ‖g_t(x_i)‖/C)   `_add_clipped`: summed in float64; not finite counts as zero
    Add noise g̃_t = 1/L (Σ ḡ_t(x_i) + N(0, σ²C²I))             `_set_noisy_mean`: L is the planned number, never the sampled one
    Descent θ_{t+1} = θ_t - η_t g̃_t                            SGD with momentum or Adam: post-processing, as are FedProx's term
                                                               and weight decay, which depend on weights alone

A step without a patient adds noise and descends all the same. All random numbers come from the training's own secret key, those
of sampling too: somebody who knew which patients a step took would know more than the accountant assumes. What a patient draws
depends on no other patient. The checkpoint holds the key, so that a resumed training ends with the same bits; a training that
begins again has another key.

Several processes share the patients of a step; the first one adds up their sums and adds the noise, once.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedcli.errors import DataError
from fedcli.learning.determinism import reproducible, reseed
from fedcli.learning.networks.precision import computing
from fedcli.learning.networks.weights import to_arrays
from fedcli.learning.samples import as_input
from fedcli.learning.training.augmentation import augment, draw
from fedcli.learning.training.checkpoint import Snapshot
from fedcli.learning.training.data_parallel import SINGLE_PROCESS, resume
from fedcli.learning.training.local_training import require_finite
from fedcli.learning.training.losses import Objective, Proximal
from fedcli.learning.training.mechanism import require_private, require_unchanged
from fedcli.learning.training.optimizers import adam, set_rate, sgd, state_arrays, trainable
from fedcli.learning.training.throughput import Throughput
from fedcli.plan import PrivateOptimizer
from fedcli.privacy.noise import KEY_BYTES, SecretStream, round_to_grid, training_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from fedcli.learning.samples import Samples
    from fedcli.learning.training.checkpoint import Checkpoint
    from fedcli.learning.training.data_parallel import Replicas
    from fedcli.learning.training.mechanism import Mechanism
    from fedcli.plan import Augmentation, Training
    from fedcli.progress import Progress
    from fedcli.tensors import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateTrainingResult:
    """What a private training did, besides changing the network's weights; it tells nothing of the patients.

    Attributes:
        steps: Optimizer steps over all epochs.
        optimizer_state: The optimizer's moments.
        seconds: Spent in steps.
        training: Names the training, as `training_of` does: one that was resumed has the same name, one that began again another.
    """

    steps: int
    optimizer_state: Arrays
    seconds: float
    training: str


class PrivateTraining:
    """Minimises the loss by noisy steps on random patients.

    Args:
        module: Holds the received model, and the trained weights afterwards; it is moved to the device.
        samples: The site's training images, with their patients.
        training: The plan's settings; `rates` replaces its rate and epochs, the mechanism its batch size and sampling.
        augmentation: How images are changed at random.
        mechanism: Noise, clipping and sampling.
        rates: The learning rate of each epoch: as many epochs as rates.
        device: Where to compute.
        optimizer_state: The optimizer's moments from an earlier training; None resets them.
        checkpoint: Where this training is saved and resumed from; None saves nothing.
        replicas: The processes that share the work, as in `LocalTraining`; all have the first one's key.
        random_bytes: Returns so many unpredictable bytes: the key of a training that begins.
        clock: Seconds from any origin.

    Raises:
        DataError: There are no images, or their patients are unknown.
        ConfigurationError: The network or a setting is at odds with the promise, or the optimizer state is another network's.
    """

    def __init__(
        self,
        module: nn.Module,
        samples: Samples,
        training: Training,
        augmentation: Augmentation,
        mechanism: Mechanism,
        *,
        rates: Sequence[float],
        device: torch.device,
        optimizer_state: Arrays | None = None,
        checkpoint: Checkpoint | None = None,
        replicas: Replicas = SINGLE_PROCESS,
        random_bytes: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        require_private(module, training)
        self._samples, self._training, self._augmentation, self._mechanism = samples, training, augmentation, mechanism
        self._patients = _images_of_patients(samples)
        self._rates, self._device, self._checkpoint, self._replicas = rates, device, checkpoint, replicas
        self._module = module.to(device).to(memory_format=torch.channels_last)
        replicas.align(module)
        self._buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        self._objective = Objective(training, samples.labels, samples.num_classes)
        self._proximal = Proximal(module, training.proximal)
        decay, momentum = training.weight_decay, mechanism.momentum
        self._optimizer = (
            adam(module, rate=training.rate, weight_decay=decay)
            if mechanism.optimizer is PrivateOptimizer.ADAM
            else sgd(module, rate=training.rate, momentum=momentum, weight_decay=decay)
        )
        self._parameters = list(trainable(module).values())
        sizes = [parameter.numel() for parameter in self._parameters]
        self._sum = torch.zeros(sum(sizes), dtype=torch.float64, device=device)
        parts = zip(torch.split(self._sum, sizes), self._parameters, strict=True)
        self._sums = [part.view(parameter.shape) for part, parameter in parts]
        snapshot = checkpoint.snapshot if checkpoint else None
        self._key = replicas.broadcast_message((snapshot.key if snapshot else b"") or random_bytes(KEY_BYTES))
        self._sampling, self._views, self._dropout, self._noise = (
            SecretStream(self._key, purpose) for purpose in ("sampling", "views", "dropout", "noise")
        )
        self._num_steps = mechanism.steps_per_epoch(training.steps)
        self._epoch, self._step = resume(module, self._optimizer, snapshot, optimizer_state, replicas)
        left, images = len(rates) * self._num_steps - self._done, mechanism.images_per_step
        self._throughput = Throughput(left, images, clock, seconds=snapshot.seconds if snapshot else 0.0)

    @property
    def _done(self) -> int:
        """Number of steps taken, over all epochs: the step's number t, from 0."""
        return (self._epoch - 1) * self._num_steps + self._step

    def run(
        self,
        progress: Progress,
        *,
        label: str = "private training",
        on_epoch: Callable[[int], None] = lambda _: None,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> PrivateTrainingResult:
        """Train for all epochs that are left; the arguments are those of `LocalTraining.run`.

        Raises:
            TrainingError: A weight is not finite; the network must not be used.
            ConfigurationError: The network has buffers that training changes, for which there is no noise.
            KeyboardInterrupt: The training was interrupted; the checkpoint is written.
        """
        while self._epoch <= len(self._rates):
            with progress.track(label, self._num_steps, "steps") as advance, reproducible(0, self._device):
                advance(self._step, "")
                self._throughput.start()
                while self._step < self._num_steps:
                    (stop,) = self._replicas.total(float(interrupted()))
                    self._take_step()
                    advance(1, self._throughput.step().removeprefix(", "))
                    if stop:
                        self._save()
                        raise KeyboardInterrupt
                    if self._checkpoint is not None and self._checkpoint.is_due():
                        self._save()
            self._save()
            on_epoch(self._epoch)
            self._epoch, self._step = self._epoch + 1, 0
        require_finite(self._module)
        require_unchanged(self._module, self._buffers)
        state = state_arrays(self._optimizer, self._module)
        return PrivateTrainingResult(
            steps=self._done, optimizer_state=state, seconds=self._throughput.seconds, training=training_of(self._key)
        )

    def _take_step(self) -> None:
        """Take one step of the algorithm."""
        self._module.train()
        self._sum.zero_()
        sampled = self._sampling.sample(self._done, len(self._patients), self._mechanism.sampling_rate)
        for gradient in self._gradients(self._replicas.share(sampled).tolist()):
            self._add_clipped(gradient)
        self._replicas.add_up(self._sum)
        self._set_noisy_mean()
        if self._training.proximal:
            self._proximal().backward()  # type: ignore[union-attr]
        set_rate(self._optimizer, self._rates[self._epoch - 1])
        self._optimizer.step()
        self._step += 1

    def _gradients(self, patients: list[int]) -> Iterator[tuple[Tensor, ...]]:
        """Yield the gradient of each patient; only one of them is in memory."""
        return map(self._gradient, patients)

    def _gradient(self, patient: int) -> tuple[Tensor, ...]:
        """Return the gradient of a patient's mean loss, one tensor per trainable weight."""
        images, labels = self._images(patient)
        reseed(self._dropout.seed(self._done, patient), self._device)
        # A plain step spares memory, which takes time; a patient has so few images that the step takes less in any case.
        sparing = 2 * len(images) > self._mechanism.images_per_step
        with computing(self._training.precision, self._module, self._device, sparing=sparing):
            logits = self._module(images)
        loss = self._objective(logits, labels).mean()
        return torch.autograd.grad(loss, self._parameters, allow_unused=True, materialize_grads=True)

    def _images(self, patient: int) -> tuple[Tensor, Tensor]:
        """Return some of a patient's images at random, each in several augmented views, (b, 1, H, W), and their labels, (b,)."""
        seed = self._views.seed(self._done, patient)
        indices = self._patients[patient]
        if len(indices) > self._mechanism.images_per_patient:
            generator = np.random.default_rng(seed)
            indices = np.sort(generator.choice(indices, self._mechanism.images_per_patient, replace=False))
        rows = torch.from_numpy(self._samples.images[indices])
        labels = torch.from_numpy(self._samples.labels[indices])
        views = self._mechanism.augmentations
        images = as_input(rows, self._parameters[0].dtype, self._device).repeat_interleave(views, dim=0)
        choices = draw(len(images), torch.Generator().manual_seed(seed))
        images = augment(images, self._augmentation, choices).contiguous(memory_format=torch.channels_last)
        return images, labels.to(self._device).repeat_interleave(views)

    def _add_clipped(self, gradient: tuple[Tensor, ...]) -> None:
        """Add a patient's gradient to the sum, scaled to the length C where it is longer, or nothing where it is not finite."""
        norms = [torch.linalg.vector_norm(part, dtype=torch.float64) for part in gradient]
        norm = float(torch.linalg.vector_norm(torch.stack(norms)))
        if not math.isfinite(norm):
            return
        factor = 1 / max(1.0, norm / self._mechanism.clipping)
        for total, part in zip(self._sums, gradient, strict=True):
            total.add_(part, alpha=factor)

    def _set_noisy_mean(self) -> None:
        """Add the noise of this step to the sum, divide by the planned number of patients, and set the weights' gradients."""
        if self._mechanism.noise and not self._replicas.rank:
            deviation = self._mechanism.noise * self._mechanism.clipping
            values = self._sum.cpu().numpy()
            self._noise.add_normal(values, self._done, deviation, threads=torch.get_num_threads())
            round_to_grid(values, deviation)
            self._sum.copy_(torch.from_numpy(values))
        self._replicas.spread(self._sum)
        self._sum.div_(self._mechanism.batch)
        for parameter, total in zip(self._parameters, self._sums, strict=True):
            parameter.grad = torch.empty_like(parameter).copy_(total)

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        snapshot = Snapshot(
            epoch=self._epoch,
            step=self._step,
            seconds=self._throughput.seconds,
            losses=(),
            weights=to_arrays(self._module),
            optimizer_state=state_arrays(self._optimizer, self._module),
            key=self._key,
        )
        self._checkpoint.write(snapshot)


def _images_of_patients(samples: Samples) -> list[NDArray[np.int64]]:
    """Return the images of each patient."""
    if not len(samples) or samples.patients is None:
        msg = "there are no training images" if not len(samples) else "private training needs to know the patient of every image"
        raise DataError(msg)
    _, numbers = np.unique(samples.patients, return_inverse=True)
    return [np.flatnonzero(numbers == number) for number in range(numbers.max() + 1)]

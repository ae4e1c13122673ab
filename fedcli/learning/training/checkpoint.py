"""The state of a training, saved in a folder of the workspace, so that an interrupted one ends with the same bits.

    <folder>/checkpoint.json                    which training it is, and how far it is
    <folder>/checkpoint-<digest12>.safetensors  weights, Adam's moments, the losses so far

The tensors are written first, and the JSON replaces the earlier one in one step, so that one of them is always complete. A
checkpoint is only used by the same training: the same plan, start and data, device, number of threads and versions.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass as plain_dataclass
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import disk, tensors, wire
from fedcli.disk import write_whole
from fedcli.tensors import TensorError
from fedcli.wire import STRICT, Digest, ShortText, absent_means

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.progress import Progress
    from fedcli.tensors import Arrays

_DESCRIPTION = "checkpoint.json"
_TENSORS = "checkpoint-*.safetensors"
_INTERVAL = 300.0
_LOSSES, _KEY = "losses", "key"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TrainingIdentity:
    """Everything that the bits of a training depend on.

    Attributes:
        plan: Digest of the plan.
        start: Digest of the file of the model that it starts from.
        data: Digest of the prepared data.
        device: The device, precision and number of processes.
        threads: CPU threads.
        versions: Of fedcli, numpy and torch.
        declared: N₀ of a private training, which its sampling follows from; 0 for a plain one.
    """

    plan: Digest
    start: Digest
    data: Digest
    device: ShortText
    threads: Annotated[int, Field(ge=1, le=4096)]
    versions: ShortText
    declared: Annotated[int, Field(ge=0), absent_means(0)] = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CheckpointDescription:
    """The content of checkpoint.json.

    Attributes:
        schema: Name and version of this class.
        origin: Which training it is.
        epoch: The current epoch, from 1.
        step: Its steps that are done.
        seconds: Spent in steps so far.
        tensors: Digest of the file of tensors.
    """

    schema: Literal["fedcli-checkpoint-1"] = "fedcli-checkpoint-1"
    origin: TrainingIdentity
    epoch: Annotated[int, Field(ge=1)]
    step: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]
    tensors: Digest


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of a training between two steps.

    Attributes:
        epoch: The current epoch, from 1.
        step: Its steps that are done.
        seconds: Spent in steps so far.
        losses: Of every step so far.
        weights: The module's weights and buffers.
        optimizer_state: The optimizer's moments.
        key: The secret of a private training's random numbers; empty in other trainings.
    """

    epoch: int
    step: int
    seconds: float
    losses: tuple[float, ...]
    weights: Arrays
    optimizer_state: Arrays
    key: bytes = b""


class Checkpoint:
    """The checkpoint of one training. If the folder holds none for it, the folder is cleared.

    Args:
        folder: Holds the checkpoint, and the best model so far.
        origin: Which training it is.
        progress: Notified whether the training is resumed or starts again.
        interval: Seconds between two checkpoints.
        clock: Seconds from any origin.

    Attributes:
        snapshot: Where an earlier run was interrupted; None if there is nothing to resume.
    """

    def __init__(
        self,
        folder: Path,
        origin: TrainingIdentity,
        progress: Progress,
        *,
        interval: float = _INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._origin = origin
        self._interval = interval
        self._clock = clock
        self._written = clock()
        self.snapshot = self._read(progress)
        if self.snapshot is None:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)

    def is_due(self) -> bool:
        """Tell whether it is time for another checkpoint."""
        return self._clock() - self._written >= self._interval

    def write(self, snapshot: Snapshot) -> None:
        """Save a snapshot in place of the one before."""
        arrays = {f"weights/{name}": array for name, array in snapshot.weights.items()}
        arrays |= {f"optimizer/{name}": array for name, array in snapshot.optimizer_state.items()}
        arrays[_LOSSES] = np.array(snapshot.losses, dtype=np.float64)
        if snapshot.key:
            arrays[_KEY] = np.frombuffer(snapshot.key, dtype=np.uint8)
        temporary = self.folder / ".checkpoint"
        temporary.unlink(missing_ok=True)
        digest = tensors.write(temporary, arrays).sha256
        temporary.chmod(0o600)  # a private training's key would let its noise be subtracted
        path = temporary.replace(self.folder / _TENSORS.replace("*", digest[: wire.SHORT_DIGEST]))
        description = CheckpointDescription(
            origin=self._origin, epoch=snapshot.epoch, step=snapshot.step, seconds=snapshot.seconds, tensors=digest
        )
        write_whole(self.folder / _DESCRIPTION, wire.encode(description))
        for older in self.folder.glob(_TENSORS):
            if older != path:
                older.unlink()
        self._written = self._clock()

    def remove(self) -> None:
        """Remove the folder, once the training's results are stored elsewhere."""
        shutil.rmtree(self.folder)

    def _read(self, progress: Progress) -> Snapshot | None:
        if not (self.folder / _DESCRIPTION).is_file():
            return None
        try:
            description = wire.decode(CheckpointDescription, (self.folder / _DESCRIPTION).read_bytes())
            if reason := self._difference(description.origin):
                progress.event(f"{self.folder.name}: starting again, the interrupted training had {reason}")
                return None
            path = self.folder / _TENSORS.replace("*", description.tensors[: wire.SHORT_DIGEST])
            if disk.measure(path).sha256 != description.tensors:
                progress.event(f"{self.folder.name}: starting again, the checkpoint {path.name} is damaged")
                return None
            arrays = tensors.read(path)
        except (wire.MalformedError, OSError, TensorError) as error:
            progress.event(f"{self.folder.name}: starting again, the checkpoint cannot be read: {error}")
            return None
        progress.event(f"{self.folder.name}: resuming from epoch {description.epoch}, step {description.step}")
        return Snapshot(
            epoch=description.epoch,
            step=description.step,
            seconds=description.seconds,
            losses=tuple(arrays[_LOSSES].tolist()),
            weights=_under("weights/", arrays),
            optimizer_state=_under("optimizer/", arrays),
            key=arrays[_KEY].tobytes() if _KEY in arrays else b"",
        )

    def _difference(self, other: TrainingIdentity) -> str:
        """Return in a few words how another training differs; empty if it is this one."""
        pairs = [(item.name, str(getattr(other, item.name)), str(getattr(self._origin, item.name))) for item in fields(other)]
        return "; ".join(
            f"{name} {_short(name, before)}, now {_short(name, now)}" for name, before, now in pairs if before != now
        )


def _short(name: str, value: str) -> str:
    return value[: wire.SHORT_DIGEST] if name in {"plan", "start", "data"} else value


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

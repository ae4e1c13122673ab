"""Where a training stands, kept in a folder of the workspace, so that an interrupted one goes on with the same bits.

    <folder>/checkpoint.json                    which training it is, and where it stands
    <folder>/checkpoint-<digest12>.safetensors  weights, Adam's moments, the losses so far

The tensors are written first and the JSON replaces its predecessor whole, so that there is always one that holds. A checkpoint
serves the same training alone: the same plan, start and data, on the same device, with as many threads and the same versions.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass as plain_dataclass
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import tensors, wire
from fedcli.private_files import write_whole
from fedcli.tensors import TensorError
from fedcli.wire import STRICT, Digest, ShortText

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.progress import Progress

    Arrays = dict[str, NDArray[Any]]

_FACTS = "checkpoint.json"
_TENSORS = "checkpoint-*.safetensors"
_INTERVAL = 300.0
_LOSSES = "losses"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Origin:
    """What decides the bits of a training.

    Attributes:
        plan: Digest of the plan.
        start: Digest of the model's file that it starts from.
        data: Digest of the prepared data.
        device: Where it computes, in which precision, by how many processes.
        threads: CPU threads.
        versions: Of fedcli, numpy and torch.
    """

    plan: Digest
    start: Digest
    data: Digest
    device: ShortText
    threads: Annotated[int, Field(ge=1, le=4096)]
    versions: ShortText


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Facts:
    """What checkpoint.json says.

    Attributes:
        schema: Name and version of this class.
        origin: Which training it is.
        epoch: The epoch under way, from 1.
        step: Its steps that are done.
        seconds: Spent in steps so far.
        tensors: Digest of the file beside it.
    """

    schema: Literal["fedcli-checkpoint-1"] = "fedcli-checkpoint-1"
    origin: Origin
    epoch: Annotated[int, Field(ge=1)]
    step: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]
    tensors: Digest


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Where a training stands.

    Attributes:
        epoch: The epoch under way, from 1.
        step: Its steps that are done.
        seconds: Spent in steps so far.
        losses: Of every step so far.
        weights: The module's weights and buffers.
        optimizer_state: Adam's moments.
    """

    epoch: int
    step: int
    seconds: float
    losses: tuple[float, ...]
    weights: Arrays
    optimizer_state: Arrays


class Checkpoint:
    """The checkpoint of one training; what lies in its folder and is of no use is removed, and told.

    Args:
        folder: Where it lies, with what else the training keeps there.
        origin: Which training it is.
        progress: Who is told.
        interval: Seconds between two checkpoints.
        clock: Seconds from any origin.

    Attributes:
        found: Where an earlier run was interrupted; None where there is nothing to go on from.
    """

    def __init__(
        self,
        folder: Path,
        origin: Origin,
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
        self.found = self._read(progress)
        if self.found is None:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)

    def is_due(self) -> bool:
        """Tell whether it is time for another one."""
        return self._clock() - self._written >= self._interval

    def write(self, snapshot: Snapshot) -> None:
        """Keep a snapshot instead of the one before."""
        arrays = {f"weights/{name}": array for name, array in snapshot.weights.items()}
        arrays |= {f"optimizer/{name}": array for name, array in snapshot.optimizer_state.items()}
        arrays[_LOSSES] = np.array(snapshot.losses, dtype=np.float64)
        temporary = self.folder / ".checkpoint"
        temporary.unlink(missing_ok=True)
        digest = tensors.write(temporary, arrays).sha256
        path = temporary.replace(self.folder / _TENSORS.replace("*", digest[: wire.SHORT_DIGEST]))
        facts = Facts(
            origin=self._origin, epoch=snapshot.epoch, step=snapshot.step, seconds=snapshot.seconds, tensors=digest
        )  # fmt: skip
        write_whole(self.folder / _FACTS, wire.encode(facts))
        for older in self.folder.glob(_TENSORS):
            if older != path:
                older.unlink()
        self._written = self._clock()

    def remove(self) -> None:
        """Remove the folder: what the training made is safe elsewhere."""
        shutil.rmtree(self.folder)

    def _read(self, progress: Progress) -> Snapshot | None:
        if not (self.folder / _FACTS).is_file():
            return None
        try:
            facts = wire.decode(Facts, (self.folder / _FACTS).read_bytes())
            if reason := self._difference(facts.origin):
                progress.event(f"{self.folder.name}: begun anew, the interrupted training had {reason}")
                return None
            path = self.folder / _TENSORS.replace("*", facts.tensors[: wire.SHORT_DIGEST])
            if tensors.measure(path).sha256 != facts.tensors:
                progress.event(f"{self.folder.name}: begun anew, the checkpoint {path.name} is damaged")
                return None
            arrays = tensors.read(path)
        except (wire.MalformedError, OSError, TensorError) as error:
            progress.event(f"{self.folder.name}: begun anew, the checkpoint cannot be read: {error}")
            return None
        progress.event(f"{self.folder.name}: going on from epoch {facts.epoch}, step {facts.step}")
        return Snapshot(
            epoch=facts.epoch,
            step=facts.step,
            seconds=facts.seconds,
            losses=tuple(arrays[_LOSSES].tolist()),
            weights=_under("weights/", arrays),
            optimizer_state=_under("optimizer/", arrays),
        )

    def _difference(self, other: Origin) -> str:
        """Return in a few words how another training differs; empty where it is this one."""
        changed = [item.name for item in fields(Origin) if getattr(self._origin, item.name) != getattr(other, item.name)]
        shown = [(name, *(_shown(name, origin) for origin in (other, self._origin))) for name in changed]
        return "; ".join(f"{name} {before}, now {now}" for name, before, now in shown)


def _shown(name: str, origin: Origin) -> str:
    value = str(getattr(origin, name))
    return value[: wire.SHORT_DIGEST] if name in {"plan", "start", "data"} else value


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

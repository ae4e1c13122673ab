"""The site's best model, and what else a round saves in the workspace.

In each round, the received global model and the site's own model after every epoch are candidates. The highest validation kappa
wins, the earlier of two equal ones. An undefined kappa never wins over a defined one; while none is defined, the newest candidate
is the best.

    state/round-0003/best.json            which model, with its round and kappa
    state/round-0003/best.safetensors     its weights
    state/round-0003/optimizer.safetensors   Adam's moments, if the plan keeps them
    state/round-0003/statistics.safetensors  the site's own BatchNorm layers, if they stay at the site

Only the newest round's folder is used; the outbox installs it by one rename when the round is published. After a restart the site
drops what started from a round that the coordinator has given up: the best model, Adam's moments, its own BatchNorm layers.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass as plain_dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from fedcli import disk, tensors, wire
from fedcli.disk import write_whole
from fedcli.errors import MissingError
from fedcli.exchange.records.record import Kappa, Number
from fedcli.wire import STRICT, Digest

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.exchange.records import ModelKind
    from fedcli.tensors import Arrays
    from fedcli.workspace import Workspace

OPTIMIZER = "optimizer.safetensors"
STATISTICS = "statistics.safetensors"
_DESCRIPTION = "best.json"
_WEIGHTS = "best.safetensors"


class Origin(StrEnum):
    """Where a candidate comes from."""

    RECEIVED = "received"
    TRAINED = "trained"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Best:
    """The best model so far.

    Attributes:
        round: The global round (or the epoch of local training) that produced it.
        origin: Received from the coordinator, or trained here.
        kappa: Its kappa on the validation patients; null if undefined.
        content_sha256: Digest of its file.
        base: Digest of the round record that its training started from.
    """

    round: Number
    origin: Origin
    kappa: Kappa | None
    content_sha256: Digest
    base: Digest


@plain_dataclass(slots=True)
class Selection:
    """Keeps the best of all candidates, which are offered in the order of the rounds.

    Attributes:
        folder: Holds the best model's files while the command runs.
        best: The best so far; None before the first candidate.
    """

    folder: Path
    best: Best | None = None

    @classmethod
    def resume(cls, folder: Path, before: Path | None, bases: AbstractSet[str] = frozenset()) -> Selection:
        """Return a selection in a folder; a new folder starts with the best model of an earlier one, if its base counts.

        After an interruption the same candidates are offered again in the same order, which changes nothing.

        Args:
            folder: Holds the best model's files.
            before: The folder of the newest round; None if there is none.
            bases: Digests of the round records that led to the newest model.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / _DESCRIPTION).is_file():
            return cls(folder, read_best(folder))
        if before is None or read_best(before).base not in bases:
            return cls(folder)
        shutil.copyfile(before / _WEIGHTS, folder / _WEIGHTS)
        selection = cls(folder, read_best(before))
        selection.write()
        return selection

    def offer(self, arrays: Arrays, round_number: int, origin: Origin, kappa: float | None, base: str) -> None:
        """Keep a candidate if it is better than the best so far."""
        if self.best is not None and self.best.kappa is not None and (kappa is None or kappa <= self.best.kappa):
            return
        temporary = self.folder / f".{_WEIGHTS}"
        temporary.unlink(missing_ok=True)
        measured = tensors.write(temporary, arrays)
        temporary.replace(self.folder / _WEIGHTS)
        self.best = Best(round=round_number, origin=origin, kappa=kappa, content_sha256=measured.sha256, base=base)
        self.write()

    def copy(self, folder: Path) -> None:
        """Copy the best model to a new folder."""
        folder.mkdir(parents=True)
        for name in (_WEIGHTS, _DESCRIPTION):
            shutil.copyfile(self.folder / name, folder / name)

    def write(self) -> None:
        """Write which model is the best."""
        write_whole(self.folder / _DESCRIPTION, wire.encode(self.best))


def newest_state(workspace: Workspace) -> Path | None:
    """Return the folder of the newest round, or None."""
    folders = sorted(workspace.path("state").glob("round-*"))
    return folders[-1] if folders else None


def round_of(state: Path) -> int:
    """Return the round to which a folder of `newest_state` belongs."""
    return int(state.name.removeprefix("round-"))


def forget_older_states(workspace: Workspace) -> None:
    """Remove all but the newest round's folder."""
    for folder in sorted(workspace.path("state").glob("round-*"))[:-1]:
        shutil.rmtree(folder)


def read_best(folder: Path) -> Best:
    """Return the description of a folder's best model."""
    return wire.decode(Best, (folder / _DESCRIPTION).read_bytes())


def best_weights(folder: Path) -> tuple[Path, Measured]:
    """Return the file of a folder's best model, with its size and digest.

    Raises:
        MissingError: It is missing, or another file.
    """
    path = folder / _WEIGHTS
    measured = disk.measure(path)
    if measured.sha256 != read_best(folder).content_sha256:
        msg = f"{path}: not the model that best.json describes"
        raise MissingError(msg)
    return path, measured


def own_model_folder(workspace: Workspace, kind: ModelKind) -> Path:
    """Return the workspace's folder of the site's own model of this kind."""
    return workspace.path("models", kind.value)

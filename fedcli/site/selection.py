"""The site's best model, and what else a round leaves in the workspace.

Each round, the received global model and the site's own after every epoch are candidates; the highest validation kappa wins, the
earlier of equals. An undefined kappa never beats a defined one and never blocks: while none is defined, the newest candidate
stands.

    state/round-0003/best.json            which model, with its round and kappa
    state/round-0003/best.safetensors     its weights
    state/round-0003/optimizer.safetensors   Adam's moments, where the plan keeps them
    state/round-0003/statistics.safetensors  the site's own BatchNorm layers, where the plan leaves them at the site

Only the newest round's folder counts; the outbox installs it by one rename when the round is published.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass as plain_dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from fedcli import tensors, wire
from fedcli.disk import write_whole
from fedcli.errors import MissingError
from fedcli.exchange.records.common import Kappa, Number
from fedcli.wire import STRICT, Digest

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.records import ModelKind
    from fedcli.tensors import Arrays, Measured
    from fedcli.workspace import Workspace

OPTIMIZER = "optimizer.safetensors"
STATISTICS = "statistics.safetensors"
_FACTS = "best.json"
_WEIGHTS = "best.safetensors"


class Origin(StrEnum):
    """Where a candidate comes from."""

    RECEIVED = "received"
    TRAINED = "trained"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Best:
    """The best model so far.

    Attributes:
        round: The global round (or the epoch of local training) after which it stood.
        origin: Received from the coordinator, or trained here.
        kappa: Its kappa on the validation patients; null where undefined.
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
    """Keeps the better of two, over all candidates; `offer` is asked in the order of the rounds.

    Attributes:
        folder: Where the best model's files are kept while the command runs.
        best: The best so far; None before the first candidate.
    """

    folder: Path
    best: Best | None = None

    @classmethod
    def resume(cls, folder: Path, before: Path | None) -> Selection:
        """Go on in a folder, which begins with the best of an earlier one.

        Where a command was cut off, its candidates are offered again in their order, which changes nothing: they are the same.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / _FACTS).is_file():
            return cls(folder, read_best(folder))
        if before is None:
            return cls(folder)
        shutil.copyfile(before / _WEIGHTS, folder / _WEIGHTS)
        found = cls(folder, read_best(before))
        found.write()
        return found

    def offer(self, arrays: Arrays, round_number: int, origin: Origin, kappa: float | None, base: str) -> bool:
        """Take a candidate if it is better; tell whether it was."""
        if self.best is not None and self.best.kappa is not None and (kappa is None or kappa <= self.best.kappa):
            return False
        temporary = self.folder / f".{_WEIGHTS}"
        temporary.unlink(missing_ok=True)
        measured = tensors.write(temporary, arrays)
        temporary.replace(self.folder / _WEIGHTS)
        self.best = Best(round=round_number, origin=origin, kappa=kappa, content_sha256=measured.sha256, base=base)
        self.write()
        return True

    def copy(self, folder: Path) -> None:
        """Copy the best model to another folder, which is made."""
        folder.mkdir(parents=True)
        for name in (_WEIGHTS, _FACTS):
            shutil.copyfile(self.folder / name, folder / name)

    def write(self) -> None:
        """Write down which model is the best."""
        write_whole(self.folder / _FACTS, wire.encode(self.best))


def newest_state(workspace: Workspace) -> Path | None:
    """Return the folder that the newest round left, or None."""
    folders = sorted(workspace.path("state").glob("round-*"))
    return folders[-1] if folders else None


def forget_older_states(workspace: Workspace) -> None:
    """Remove all but the newest round's folder."""
    for folder in sorted(workspace.path("state").glob("round-*"))[:-1]:
        shutil.rmtree(folder)


def read_best(folder: Path) -> Best:
    """Return what a folder says of its best model."""
    return wire.decode(Best, (folder / _FACTS).read_bytes())


def best_weights(folder: Path) -> tuple[Path, Measured]:
    """Return the file of a folder's best model, with its size and digest.

    Raises:
        MissingError: It is gone, or not the file that was kept.
    """
    path = folder / _WEIGHTS
    measured = tensors.measure(path)
    if measured.sha256 != read_best(folder).content_sha256:
        msg = f"{path}: not the model that was kept"
        raise MissingError(msg)
    return path, measured


def own_model_folder(workspace: Workspace, kind: ModelKind) -> Path:
    """Return where the workspace keeps the site's own model of this kind."""
    return workspace.path("models", kind.value)

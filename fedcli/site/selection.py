"""The site's best model, and what else a round saves in the workspace.

In each round, the received global model and the site's own model after every epoch are candidates, but φ(0) is none: nobody has
trained it. By default the highest validation kappa wins, of equal ones the lowest validation loss (`measures.Merit`).

With the choice "smoothed" the highest smoothed kappa wins: the mean of a candidate's kappa and those of the up to two
candidates of the same origin, received or trained, that were offered before it. So no later round is waited for, and one model
is kept. Where a round has several epochs, each of them offers a trained candidate, and three of them may be of one round. The
first candidates of an origin have a mean of fewer kappas. Of equal means, the candidate's own loss decides.

    state/round-0003/best.json            which model, with its round and kappa, and the candidates of which a mean is taken
    state/round-0003/best.safetensors     its weights
    state/round-0003/optimizer.safetensors   Adam's moments, if the plan keeps them
    state/round-0003/statistics.safetensors  the site's own BatchNorm layers, if they stay at the site

Only the newest round's folder is used; the outbox installs it by one rename when the round is published. After a restart the site
drops what started from a round that the coordinator has given up: the best model, Adam's moments, its own BatchNorm layers.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import tensors, wire
from fedcli.disk import write_whole
from fedcli.exchange.records.record import Kappa, NotNegative, Number
from fedcli.measures import SMOOTHED_OVER, Merit, smoothed
from fedcli.plan import Choice
from fedcli.wire import STRICT, Digest, absent_means

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from fedcli.tensors import Arrays
    from fedcli.workspace import Workspace

OPTIMIZER = "optimizer.safetensors"
STATISTICS = "statistics.safetensors"
PROVENANCE = "provenance.json"
"""In the folder of a site's own model: what its training depended on."""
DESCRIPTION = "best.json"
WEIGHTS = "best.safetensors"


class Origin(StrEnum):
    """Where a candidate comes from."""

    RECEIVED = "received"
    TRAINED = "trained"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Candidate:
    """A candidate that was offered, chosen or not.

    Attributes:
        round: The global round (or the epoch of local training) that produced it.
        epoch: The epoch of the round; 0 for a received one, and outside of the rounds.
        origin: Received from the coordinator, or trained here.
        kappa: Its kappa on the validation patients, as it may be published; null if undefined or withheld.
        base: Digest of the round record that its training started from.
    """

    round: Number
    epoch: Number = 0
    origin: Origin
    kappa: Kappa | None
    base: Digest


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Best:
    """The best model so far.

    Attributes:
        round: The global round (or the epoch of local training) that produced it.
        origin: Received from the coordinator, or trained here.
        kappa: Its kappa on the validation patients, as it may be published; null if undefined or withheld.
        loss: Its loss there, likewise; null in the state of an older fedcli, too.
        by_loss: Whether only the loss tells it apart from another candidate.
        highest: The highest kappa of all candidates so far; null in the state of an older fedcli.
        smoothed: Its smoothed kappa, likewise.
        recent: The last three candidates of each origin, in the order in which they were offered; none in the state of an older
            fedcli.
        content_sha256: Digest of its file.
        base: Digest of the round record that its training started from.
    """

    round: Number
    origin: Origin
    kappa: Kappa | None
    loss: Annotated[NotNegative | None, absent_means(None)] = None
    by_loss: Annotated[bool, absent_means(value=False)] = False
    highest: Annotated[Kappa | None, absent_means(None)] = None
    smoothed: Annotated[Kappa | None, absent_means(None)] = None
    recent: Annotated[tuple[Candidate, ...], Field(max_length=2 * SMOOTHED_OVER), absent_means(())] = ()
    content_sha256: Digest
    base: Digest

    def merit(self, choice: Choice) -> Merit:
        """By what it is compared; in the state of an older fedcli, its own kappa takes the place of the smoothed one."""
        smoothed_kappa = self.kappa if self.smoothed is None else self.smoothed
        return Merit(kappa=self.kappa, loss=self.loss).judged(choice, smoothed_kappa)

    @property
    def age(self) -> tuple[int, bool]:
        """What orders it among the candidates: φ(t) is received after round t was trained."""
        return self.round, self.origin is Origin.RECEIVED

    @property
    def highest_kappa(self) -> float:
        """The highest kappa so far; an undefined one counts as 0."""
        return (self.kappa or 0.0) if self.highest is None else self.highest


@plain_dataclass(slots=True)
class Selection:
    """Keeps the best of all candidates, which are offered in the order of the rounds.

    Attributes:
        folder: Holds the best model's files while the command runs.
        choice: Which candidate is the best.
        best: The best so far; None before the first candidate.
    """

    folder: Path
    choice: Choice
    best: Best | None = None

    @classmethod
    def resume(cls, folder: Path, choice: Choice, before: Path | None, bases: AbstractSet[str] = frozenset()) -> Selection:
        """Return a selection in a folder; a new folder starts with the best model of an earlier one, if its base counts.

        After an interruption the same candidates are offered again in the same order, which changes nothing. After a restart, a
        mean takes the candidates that count only; if the best model does not count, means begin again.

        Args:
            folder: Holds the best model's files.
            choice: Which candidate is the best.
            before: The folder of the newest round; None if there is none.
            bases: Digests of the round records that led to the newest model.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / DESCRIPTION).is_file():
            return cls(folder, choice, read_best(folder))
        best = read_best(before) if before is not None else None
        if before is None or best is None or best.base not in bases or best.round == 0:  # an older fedcli kept φ(0)
            return cls(folder, choice)
        shutil.copyfile(before / WEIGHTS, folder / WEIGHTS)
        recent = tuple(candidate for candidate in best.recent if candidate.base in bases)
        selection = cls(folder, choice, replace(best, recent=recent))
        selection.write()
        return selection

    def offer(self, arrays: Arrays, round_number: int, origin: Origin, merit: Merit, base: str, epoch: int = 0) -> None:
        """Keep a candidate if it is chosen in place of the best so far; one that has been offered before changes nothing."""
        candidate = Candidate(round=round_number, epoch=epoch, origin=origin, kappa=merit.kappa, base=base)
        if self._has_been_offered(candidate):
            return
        recent = self._recent(candidate)
        kappa = smoothed([item.kappa for item in recent if item.origin is origin])
        highest = max(merit.kappa or 0.0, self.best.highest_kappa if self.best else -1.0)
        judged = merit.judged(self.choice, kappa)
        near = self._chooses_near(merit)
        by_loss = not near and self.best is not None and judged.differs_by_loss(self.best.merit(self.choice))
        if self.best is not None and not (
            merit.is_near(self.best.highest_kappa) if near else judged.beats(self.best.merit(self.choice))
        ):
            self.best = replace(self.best, by_loss=by_loss or self.best.by_loss, highest=highest, recent=recent)
            self.write()
            return
        temporary = self.folder / f".{WEIGHTS}"
        temporary.unlink(missing_ok=True)
        measured = tensors.write(temporary, arrays)
        temporary.replace(self.folder / WEIGHTS)
        self.best = Best(
            round=round_number,
            origin=origin,
            kappa=merit.kappa,
            loss=merit.loss,
            by_loss=by_loss,
            highest=highest,
            smoothed=kappa,
            recent=recent,
            content_sha256=measured.sha256,
            base=base,
        )
        self.write()

    def _has_been_offered(self, candidate: Candidate) -> bool:
        """Tell whether a candidate is older than the best, or not newer than the newest of its origin."""
        if self.best is None:
            return False
        same = [item for item in self.best.recent if item.origin is candidate.origin]
        older = (candidate.round, candidate.origin is Origin.RECEIVED) < self.best.age
        return older or any((candidate.round, candidate.epoch) <= (item.round, item.epoch) for item in same)

    def _recent(self, candidate: Candidate) -> tuple[Candidate, ...]:
        """Return the last candidates of each origin, together with this one."""
        before = self.best.recent if self.best else ()
        left_out = [item for item in before if item.origin is candidate.origin][: 1 - SMOOTHED_OVER]
        return (*(item for item in before if item not in left_out), candidate)

    def _chooses_near(self, merit: Merit) -> bool:
        """Tell whether a kappa within an error of the highest counts; where none is above 0, the losses decide."""
        highest = max(merit.kappa or 0.0, self.best.highest_kappa if self.best else 0.0)
        return self.choice is Choice.WITHIN_ERROR and highest > 0

    def copy(self, folder: Path) -> None:
        """Copy the best model, if there is one, to a new folder."""
        folder.mkdir(parents=True)
        for name in (WEIGHTS, DESCRIPTION) if self.best else ():
            shutil.copyfile(self.folder / name, folder / name)

    def write(self) -> None:
        """Write which model is the best."""
        write_whole(self.folder / DESCRIPTION, wire.encode(self.best))


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


def read_best(folder: Path) -> Best | None:
    """Return what a folder says of its best model; None if it has none."""
    path = folder / DESCRIPTION
    return wire.decode(Best, path.read_bytes()) if path.is_file() else None

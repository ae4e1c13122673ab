"""A site's own models, one of each kind, as they lie in its workspace: the best that it trained, or chose among the rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass as checked_dataclass

from fedcli import disk, wire
from fedcli.errors import MissingError
from fedcli.exchange.records import ModelKind
from fedcli.site.selection import DESCRIPTION, PROVENANCE, WEIGHTS, newest_state, read_best
from fedcli.wire import STRICT, Digest

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.party.party import Party
    from fedcli.site.selection import Best
    from fedcli.workspace import Workspace


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TrainingInputs:
    """What a local training depends on; the same inputs give the same model.

    Attributes:
        source: Digest of the model's file that training started from.
        plan: Digest of the plan.
        data: Digest of the prepared data.
    """

    source: Digest
    plan: Digest
    data: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnModel:
    """A site's best trained model of a kind.

    Attributes:
        best: Its description.
        path: Its file.
    """

    best: Best
    path: Path

    def measure(self) -> Measured:
        """Return the size and the digest of the file.

        Raises:
            MissingError: It is missing, or another file.
        """
        measured = disk.measure(self.path)
        if measured.sha256 != self.best.content_sha256:
            msg = f"{self.path}: not the model that {DESCRIPTION} describes"
            raise MissingError(msg)
        return measured


def own_model(party: Party, kind: ModelKind) -> OwnModel | None:
    """Return the site's best model of a kind; None if it has trained none.

    An older fedcli could keep φ(0) as the best model, where no kappa was above that of φ(0). It counts as none.
    """
    own = kind is not ModelKind.FEDERATED
    folder = own_model_folder(party.workspace, kind) if own else newest_state(party.workspace)
    best = read_best(folder) if folder is not None else None
    if folder is None or best is None or (best.round == 0 and kind is not ModelKind.FINETUNED):
        return None
    rounds = party.ledger.rounds
    if rounds and best.content_sha256 == rounds[0].artifact.content_sha256:
        return None
    return OwnModel(best=best, path=folder / WEIGHTS)


def trained_on(workspace: Workspace, kind: ModelKind) -> Digest | None:
    """Return the digest of the data on which the local-only or the fine-tuned model was trained; None if nothing says it."""
    try:
        return wire.decode(TrainingInputs, (own_model_folder(workspace, kind) / PROVENANCE).read_bytes()).data
    except (OSError, wire.MalformedError):
        return None


def own_model_folder(workspace: Workspace, kind: ModelKind) -> Path:
    """Return the workspace's folder of the site's own model of this kind."""
    return workspace.path("models", kind.value)

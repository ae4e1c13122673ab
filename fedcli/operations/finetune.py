"""Local training beside the federation.

The paper's second step continues from the site's best federated model, `--from best`. Its baseline, the local-only model, is
`--from initial`: from φ(0), as many epochs as there are rounds, epoch e at round e's rate, the optimizer's state kept. In both
cases every epoch's model is scored on the validation patients, and the best is kept in the workspace for `evaluate`. Torch is
imported only if there is something to train.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fedcli import disk, wire
from fedcli.errors import TrainingError, UsageError
from fedcli.exchange.history.lineage import leads
from fedcli.exchange.records import ModelKind
from fedcli.party.party import Party
from fedcli.results import Result, Status
from fedcli.site import selection
from fedcli.site.own_model import TrainingInputs, own_model, own_model_folder
from fedcli.site.site_data import SiteData
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.plan import Plan


class Start(StrEnum):
    """The model from which local training starts."""

    BEST = "best"
    INITIAL = "initial"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneRequest:
    """What to train.

    Attributes:
        root: The site's workspace.
        start: The model to start from.
        devices: How many devices train together.
    """

    root: Path
    start: Start = Start.BEST
    devices: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneResult(Result):
    """The best model of a local training.

    Attributes:
        kind: local or finetuned.
        epochs: Epochs trained.
        best_epoch: Epoch of the best model; 0 is the model that training started from.
        start_kappa: Validation kappa of the starting model.
        best_kappa: Validation kappa of the best one.
        chosen_by_loss: Whether other models have the same kappa, so that the validation loss decided.
        seconds: Duration; null if an earlier run had trained it.
    """

    site: str
    kind: ModelKind
    epochs: int
    best_epoch: int
    start_kappa: float | None
    best_kappa: float | None
    chosen_by_loss: bool
    seconds: float | None


def finetune(request: FinetuneRequest, environment: Environment) -> FinetuneResult:
    """Train locally, unless the same training has been done.

    Raises:
        UsageError: There is no model to start from yet.
        ApprovalError: The operator has not approved the plan in force.
        DataError: The prepared data do not fit the plan.
        KeyboardInterrupt: It was interrupted; the next run continues.
    """
    with Party.at_work(request.root, WorkspaceRole.SITE, environment) as party:
        if party.workspace.settings.tester:
            msg = f"{party.name}: a tester has no training patients"
            raise UsageError(msg, hint=f"`{party.command('evaluate')}` scores the others' models")
        plan = party.approved_plan()
        kind = ModelKind.LOCAL if request.start is Start.INITIAL else ModelKind.FINETUNED
        source, base = _source(party, request.start)
        data = SiteData(party.workspace, plan).data
        inputs = wire.encode(TrainingInputs(source=disk.measure(source).sha256, plan=plan.digest, data=data.digest))
        known = own_model_folder(party.workspace, kind) / selection.PROVENANCE
        if known.is_file() and known.read_bytes() == inputs and own_model(party, kind) is not None:
            return _result(party, plan, kind, None, None)

        from fedcli.site.own_training import train_own_model  # noqa: PLC0415 - torch takes seconds

        rates = _rates(plan, kind)
        start_kappa, seconds = train_own_model(party, kind, (source, base), rates, inputs, request.devices)
        return _result(party, plan, kind, start_kappa, seconds)


def _source(party: Party, start: Start) -> tuple[Path, str]:
    """Return the file of the model to start from, and the digest of the round record behind it."""
    if start is Start.INITIAL:
        return party.folder.global_model(0), party.ledger.rounds[0].digest
    model = own_model(party, ModelKind.FEDERATED)
    if model is None:
        msg = f"{party.name}: there is no federated model in this workspace yet"
        raise UsageError(msg, hint=f"run `{party.command('train-round')}` first, or start from φ(0) with --from initial")
    model.measure()
    if not leads(party.ledger.rounds, model.best.base):
        msg = f"{party.name}: the best federated model started from a round that a restart has given up"
        raise UsageError(msg, hint=f"run `{party.command('train-round')}` first")
    return model.path, model.best.base


def _rates(plan: Plan, kind: ModelKind) -> tuple[float, ...]:
    """Return the rate of each epoch."""
    if kind is ModelKind.LOCAL:
        return tuple(plan.training.rate_in(number) for number in range(1, plan.rounds + 1) for _ in range(plan.training.epochs))
    return (plan.finetuning.rate,) * plan.finetuning.epochs


def _result(party: Party, plan: Plan, kind: ModelKind, start_kappa: float | None, seconds: float | None) -> FinetuneResult:
    model = own_model(party, kind)
    if model is None:
        msg = f"{party.name}: the training has changed nothing, so there is no {kind.word} model"
        raise TrainingError(msg, hint="a higher training.rate may help")
    best = model.best
    kappa = "undefined" if best.kappa is None else f"{best.kappa:.3f}"
    origin = "the starting model" if best.round == 0 else f"epoch {best.round}"
    again = " (trained by an earlier run)" if seconds is None else ""
    return FinetuneResult(
        status=Status.DONE,
        message=(
            f"{party.name}: best {kind.word} model: {origin}, validation kappa {kappa}{again}; "
            f"next: `{party.command('evaluate')}`"
        ),
        site=party.name,
        kind=kind,
        epochs=len(_rates(plan, kind)),
        best_epoch=best.round,
        start_kappa=start_kappa,
        best_kappa=best.kappa,
        chosen_by_loss=best.by_loss,
        seconds=None if seconds is None else round(seconds, 1),
    )

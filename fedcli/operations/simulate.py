"""A whole federation on one machine: the operations of all parties, through a real drop folder.

For rehearsals and for research. If it is interrupted, a run with the same arguments continues.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.errors import TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.records import LEAST_PARTICIPANTS, SHARED_KINDS
from fedcli.imaging.dataset import prepared_dataset
from fedcli.operations.admit import AdmitRequest, admit
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import aggregate
from fedcli.operations.approve import ApproveRequest, approve
from fedcli.operations.approve import inspect as inspect_plan
from fedcli.operations.evaluate import EvaluateRequest, evaluate, share
from fedcli.operations.finetune import FinetuneRequest, Start, finetune
from fedcli.operations.init import InitRequest, init
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.source import Source
from fedcli.plan import Part
from fedcli.progress import Silent
from fedcli.reporting import tables
from fedcli.results import Result, Status
from fedcli.text.wording import counted
from fedcli.wire import SHORT_DIGEST
from fedcli.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.history import History
    from fedcli.exchange.records import ModelKind
    from fedcli.operations.train_round import TrainRoundResult
    from fedcli.plan import Plan
    from fedcli.reporting.tables import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateRequest:
    """What to simulate.

    Attributes:
        plan: The plan.
        sites: Every site's prepared data, by name.
        drop: The drop folder; the workspaces are beside it.
        threads: CPU threads for training; 0 takes PyTorch's default.
        full: Also train the local-only baseline, fine-tune, and evaluate every model at every site.
        weights: The file of trained weights, if the plan begins from one.
    """

    plan: Plan
    sites: Mapping[str, Path]
    drop: Path
    threads: int = 0
    full: bool = False
    weights: Path | None = None

    @property
    def coordinator(self) -> Path:
        """The coordinator's workspace."""
        return self.drop.parent / "coordinator"

    @property
    def workspaces(self) -> dict[str, Path]:
        """Every site's workspace, by name."""
        return {site: self.drop.parent / "sites" / site for site in self.sites}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestKappa:
    """A kappa on a site's own test patients, with its 95 % bootstrap interval; null if there is none."""

    kappa: float | None
    interval: tuple[float, float] | None
    patients: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteOutcome:
    """A site's models at the end.

    Attributes:
        best_round: Round of its best federated model.
        best_kappa: That model's kappa on the site's validation patients.
        local: Its local-only model on its own test patients.
        federated: Its best federated model, likewise.
        finetuned: Its fine-tuned model, likewise.
    """

    site: str
    best_round: int | None
    best_kappa: float | None
    local: TestKappa | None = None
    federated: TestKappa | None = None
    finetuned: TestKappa | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMeans:
    """Table 2's means for one kind of model: over own test patients, and over the other sites'."""

    kind: ModelKind
    diagonal: float | None
    off_diagonal: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateResult(Result):
    """A federation that ran on one machine.

    Attributes:
        drop: The drop folder.
        coordinator: Fingerprint of the coordinator's key, for `fedcli verify --coordinator-key`.
        rounds: Rounds that are done.
        head: Digest of the newest round record.
        global_model: SHA-256 of the final global model.
        sites: Every site's models.
        means: Table 2's means, if the models were evaluated.
    """

    drop: str
    workspaces: str
    coordinator: str
    rounds: int
    head: str
    global_model: str
    sites: tuple[SiteOutcome, ...]
    means: tuple[ModelMeans, ...] = ()


def simulate(request: SimulateRequest, environment: Environment) -> SimulateResult:
    """Run a federation from its beginning to its last round, or continue one that was interrupted.

    Raises:
        UsageError: There are no sites, or too few to mask, or one has a name that it cannot have, or the plan is a region's;
            nothing was written.
        DataError: The data of a site are missing, or not prepared by this plan; nothing was written.
    """
    if not request.sites:
        msg = "a simulation needs at least one site: --site NAME=PREPARED_DIR"
        raise UsageError(msg)
    plan, roots = request.plan, request.workspaces
    if plan.tree.above:
        msg = f"simulate runs one federation, and the plan is that of a region of the federation {plan.tree.above[:SHORT_DIGEST]}"
        raise UsageError(msg, hint="leave tree.above out of the plan: the region's sites then train as a federation of their own")
    if plan.aggregation.masking and len(request.sites) < LEAST_PARTICIPANTS:
        msg = f"masking needs at least {LEAST_PARTICIPANTS} sites, found {len(request.sites)} (aggregation.masking of the plan)"
        raise UsageError(msg)
    for site, prepared in request.sites.items():  # before anything is written
        layout.require_site(site)
        prepared_dataset.load(prepared, wire.digest(plan.preparation), plan.allow_empty)
    fingerprint = _begin(request, environment)
    outcomes = _run_rounds(plan, request.coordinator, roots, environment)
    if request.full:
        _evaluate_all(roots, environment)
    source = Source.of_workspace(Workspace.open(request.coordinator))
    verified, history = verify(VerifyRequest(source=source), replace(environment, progress=Silent()))
    if not verified.verified:
        raise TrustError(verified.message)
    return SimulateResult(
        status=Status.FINISHED,
        message=f"{plan.name} has run {counted(plan.rounds, 'round')} at {counted(len(roots), 'site')}; {verified.message}",
        drop=str(request.drop),
        workspaces=str(request.drop.parent),
        coordinator=fingerprint,
        rounds=verified.round,
        head=verified.head,
        global_model=history.rounds[-1].artifact.content_sha256,
        sites=_site_outcomes(history, outcomes, full=request.full),
        means=_means(history) if request.full else (),
    )


def _begin(request: SimulateRequest, environment: Environment) -> str:
    """Begin the federation, and let every site join and be admitted; return the coordinator's fingerprint."""
    source = Source(address=str(request.drop.resolve()))
    beginning = InitRequest(root=request.coordinator, plan=request.plan, source=source, weights=request.weights)
    fingerprint = init(beginning, environment).coordinator
    for site, root in request.workspaces.items():
        joined = join(
            JoinRequest(
                root=root,
                site=site,
                invitation=inspect(replace(source, coordinator=fingerprint)),
                prepared=str(request.sites[site].resolve()),
                share_dataset=True,
                share_models=True,
                threads=request.threads,
                declared_patients=_declared_patients(request, site),
            ),
            environment,
        )
        admit(AdmitRequest(root=request.coordinator, site=site, fingerprint=joined.fingerprint), environment)
    for root in request.workspaces.values() if request.plan.aggregation.masking else ():
        members = inspect_plan(root, environment).members
        approve(ApproveRequest(root=root, digest=request.plan.digest, members=members), environment)
    return fingerprint


def _declared_patients(request: SimulateRequest, site: str) -> int:
    """Return the training patients that a site declares where the plan promises privacy: as many as it has, in a rehearsal."""
    if not request.plan.privacy.promised:
        return 0
    return prepared_dataset.describe(request.sites[site]).cohort.part(Part.TRAIN).patients


def _run_rounds(plan: Plan, coordinator: Path, roots: Mapping[str, Path], environment: Environment) -> list[TrainRoundResult]:
    """Algorithm 1: in every round all sites train, then the coordinator aggregates; masked rounds take several turns."""
    with environment.progress.track(f"federation of {len(roots)} sites", plan.rounds, "rounds") as advance:
        while True:
            outcomes = []
            for root in roots.values():
                outcomes.append(train_round(TrainRoundRequest(root=root), environment))
                environment.progress.event(outcomes[-1].message)
            if all(outcome.status is Status.FINISHED for outcome in outcomes):
                return outcomes
            result = aggregate(AggregateRequest(root=coordinator), environment)
            environment.progress.event(result.message)
            advance(int(result.global_model is not None), "")


def _evaluate_all(roots: Mapping[str, Path], environment: Environment) -> None:
    """Train the baseline, fine-tune, share, and score every model at every site."""
    for start in (Start.INITIAL, Start.BEST):
        for root in roots.values():
            environment.progress.event(finetune(FinetuneRequest(root=root, start=start), environment).message)
    for root in roots.values():
        share(EvaluateRequest(root=root), environment)
    for _ in range(2):  # the best global model is known only when every site has scored the last one
        for root in roots.values():
            evaluate(EvaluateRequest(root=root), environment)


def _site_outcomes(history: History, outcomes: list[TrainRoundResult], *, full: bool) -> tuple[SiteOutcome, ...]:
    if not full:
        return tuple(SiteOutcome(site=item.site, best_round=item.best_round, best_kappa=item.best_kappa) for item in outcomes)
    local, federated, finetuned = (tables.cross_site_table(history, kind) for kind in SHARED_KINDS)
    own = {item.site: item for item in tables.own_scores(local, federated, finetuned)}
    return tuple(
        SiteOutcome(
            site=item.site,
            best_round=item.best_round,
            best_kappa=item.best_kappa,
            local=_kappa(own[item.site].local),
            federated=_kappa(own[item.site].federated),
            finetuned=_kappa(own[item.site].finetuned),
        )
        for item in outcomes
    )


def _means(history: History) -> tuple[ModelMeans, ...]:
    by_kind = ((kind, tables.cross_site_table(history, kind)) for kind in SHARED_KINDS)
    return tuple(
        ModelMeans(kind=kind, diagonal=table.diagonal.value, off_diagonal=table.off_diagonal.value) for kind, table in by_kind
    )


def _kappa(cell: Cell) -> TestKappa:
    return TestKappa(kappa=cell.kappa, interval=cell.interval, patients=cell.patients)

"""A whole federation on one machine: all parties' operations, the very same code, through a real drop folder.

For rehearsals and for research. Cut off anywhere and run again with the same arguments, it goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedcli.errors import TrustError, UsageError
from fedcli.exchange.records import SHARED_KINDS
from fedcli.operations.admit import admit
from fedcli.operations.aggregate import aggregate
from fedcli.operations.evaluate import evaluate, share
from fedcli.operations.finetune import Start, finetune
from fedcli.operations.init import init
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.train_round import train_round
from fedcli.operations.verify import verify
from fedcli.progress import Silent
from fedcli.reporting import tables
from fedcli.results import Result, Status

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
class TestKappa:
    """A kappa on a site's own test patients, with its 95 % bootstrap interval; null where there is none."""

    kappa: float | None
    interval: tuple[float, float] | None
    patients: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteOutcome:
    """What a site has at the end.

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
        sites: What every site has.
        means: Table 2's means, where the models were evaluated.
    """

    drop: str
    workspaces: str
    coordinator: str
    rounds: int
    head: str
    global_model: str
    sites: tuple[SiteOutcome, ...]
    means: tuple[ModelMeans, ...] = ()


def simulate(
    plan: Plan,
    sites: Mapping[str, Path],
    drop: Path,
    environment: Environment,
    *,
    rounds: int | None = None,
    threads: int = 0,
    full: bool = False,
) -> SimulateResult:
    """Run a federation from its beginning to its last round, or go on with one that was cut off.

    Args:
        plan: The plan.
        sites: Every site's prepared data, by name.
        drop: The drop folder; the workspaces are made beside it, in `coordinator` and `sites/<name>`.
        environment: Clock, progress.
        rounds: Rounds instead of the plan's.
        threads: CPU threads for training; 0 takes PyTorch's default.
        full: Also train the local-only baseline, fine-tune, and evaluate every model at every site.

    Raises:
        UsageError: There are no sites.
    """
    if not sites:
        msg = "a simulation needs at least one site: --site NAME=PREPARED_DIR"
        raise UsageError(msg)
    if rounds is not None:
        plan = replace(plan, rounds=rounds)
    coordinator = drop.parent / "coordinator"
    roots = {site: drop.parent / "sites" / site for site in sites}
    fingerprint = _found(plan, sites, drop, coordinator, roots, threads, environment)
    outcomes = _run_rounds(plan, coordinator, roots, environment)
    if full:
        _evaluate_all(roots, environment)
    found, history = verify(str(drop), progress=Silent(), coordinator=fingerprint)
    if not found.verified:
        raise TrustError(found.message)
    return SimulateResult(
        status=Status.FINISHED,
        message=f"{plan.name}: {plan.rounds} rounds at {len(sites)} sites are done; {found.message}",
        drop=str(drop),
        workspaces=str(drop.parent),
        coordinator=fingerprint,
        rounds=found.round,
        head=found.head,
        global_model=history.rounds[-1].artifact.content_sha256,
        sites=_site_outcomes(history, outcomes, full=full),
        means=_means(history) if full else (),
    )


def _found(
    plan: Plan,
    sites: Mapping[str, Path],
    drop: Path,
    coordinator: Path,
    roots: Mapping[str, Path],
    threads: int,
    environment: Environment,
) -> str:
    """Begin the federation: every party's keys, enrolment and admission; return the coordinator's fingerprint."""
    fingerprint = init(coordinator, plan, str(drop.resolve()), None, {}, environment).coordinator
    for site, root in roots.items():
        request = JoinRequest(
            root=root,
            site=site,
            drop=str(drop.resolve()),
            prepared=str(sites[site].resolve()),
            share_dataset=True,
            share_models=True,
            threads=threads,
        )
        joined = join(request, inspect(request.drop, fingerprint), environment)
        admit(coordinator, site, joined.fingerprint, environment)
    return fingerprint


def _run_rounds(plan: Plan, coordinator: Path, roots: Mapping[str, Path], environment: Environment) -> list[TrainRoundResult]:
    """Algorithm 1: in every round all sites train, then the coordinator aggregates."""
    with environment.progress.track(f"federation of {len(roots)} sites", plan.rounds, "rounds") as advance:
        while True:
            outcomes = []
            for root in roots.values():
                outcomes.append(train_round(root, environment))
                environment.progress.event(outcomes[-1].message)
            if all(outcome.status is Status.FINISHED for outcome in outcomes):
                return outcomes
            environment.progress.event(aggregate(coordinator, environment).message)
            advance(1, "")


def _evaluate_all(roots: Mapping[str, Path], environment: Environment) -> None:
    """Train the baseline, fine-tune, share, and score every model at every site."""
    for start in (Start.INITIAL, Start.BEST):
        for root in roots.values():
            environment.progress.event(finetune(root, start, environment).message)
    for root in roots.values():
        share(root, environment)
    for _ in range(2):  # which global model is the best is known only when every site has scored the last one
        for root in roots.values():
            evaluate(root, environment)


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
    found = ((kind, tables.cross_site_table(history, kind)) for kind in SHARED_KINDS)
    return tuple(
        ModelMeans(kind=kind, diagonal=table.diagonal.value, off_diagonal=table.off_diagonal.value) for kind, table in found
    )


def _kappa(cell: Cell) -> TestKappa:
    return TestKappa(kappa=cell.kappa, interval=cell.interval, patients=cell.patients)

"""The whole workflow on a built-in federation: phantoms → prepare → simulate → evaluate → fine-tune → report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from fedcli import plan as plans
from fedcli import wire
from fedcli.errors import DataError
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.dataset import prepared_dataset
from fedcli.imaging.phantoms import hospitals
from fedcli.imaging.preparation import LabelFiles
from fedcli.operations.prepare import PrepareRequest, prepare
from fedcli.operations.report import ReportRequest, report
from fedcli.operations.simulate import SimulateRequest, simulate
from fedcli.party.source import Source
from fedcli.results import Result, Status
from fedcli.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.operations.simulate import ModelMeans, SiteOutcome
    from fedcli.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRequest:
    """How to run the demonstration.

    Attributes:
        out: The folder for everything: phantoms, prepared data, the drop folder, workspaces, the report.
        rounds: Rounds instead of the demo plan's.
        seed: Seed instead of the demo plan's, for phantoms, split, weights and training.
    """

    out: Path
    rounds: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult(Result):
    """A demonstration that ran.

    Attributes:
        drop: The drop folder.
        coordinator: Fingerprint of the coordinator's key.
        head: Digest of the newest round record.
        global_model: SHA-256 of the final global model.
        report: The HTML page.
        sites: Local, federated and fine-tuned kappa on each site's own test patients.
        means: Table 2's means, on own and on the other sites' test patients.
    """

    drop: str
    coordinator: str
    rounds: int
    head: str
    global_model: str
    report: str
    sites: tuple[SiteOutcome, ...]
    means: tuple[ModelMeans, ...]


def demo(request: DemoRequest, environment: Environment) -> DemoResult:
    """Run the demonstration in a folder, or continue one that was interrupted."""
    with as_file(files("fedcli").joinpath("demo_plan.toml")) as path:
        plan = plans.load(path)
    seed, rounds = request.seed, request.rounds
    plan = replace(plan, seed=plan.seed if seed is None else seed, rounds=rounds or plan.rounds)
    prepared = prepared_phantoms(request.out, hospitals.DEMO_HOSPITALS, plan, environment)
    # One thread: the small network is no faster with more, and the results are the same on every machine.
    simulation = SimulateRequest(plan=plan, sites=prepared, drop=request.out / "drop", threads=1, full=True)
    result = simulate(simulation, environment)
    source = Source.of_workspace(Workspace.open(simulation.coordinator))
    written = report(ReportRequest(source=source, out=request.out / "report"), environment)
    return DemoResult(
        status=Status.FINISHED,
        message=f"{result.message}; the report is {written.page}",
        drop=result.drop,
        coordinator=result.coordinator,
        rounds=result.rounds,
        head=result.head,
        global_model=result.global_model,
        report=written.page,
        sites=result.sites,
        means=result.means,
    )


def prepared_phantoms(out: Path, phantoms: Iterable[hospitals.Hospital], plan: Plan, environment: Environment) -> dict[str, Path]:
    """Return each hospital's prepared data: those of an earlier run if they fit the plan, else new ones."""
    folders = {}
    for hospital in phantoms:
        folders[hospital.name] = prepared = out / "prepared" / hospital.name
        try:
            prepared_dataset.load(prepared, wire.digest(plan.preparation), plan.allow_empty)
        except DataError:
            folder = out / "phantoms" / hospital.name
            labels = hospitals.write(folder, hospital, seed=plan.seed, classes=plan.classes, progress=environment.progress)
            request = PrepareRequest(
                archive=ImageArchive(folder=folder),
                labels=LabelFiles(table=labels),
                workspace=out / "sites" / hospital.name,
                plan=plan,
                out=prepared,
            )
            environment.progress.event(prepare(request, environment.progress).message)
    return folders

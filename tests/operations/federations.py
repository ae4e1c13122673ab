"""A small real federation for the tests: two hospitals of phantoms, their workspaces, and a drop folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fedcli.imaging.phantoms import hospitals
from fedcli.operations.admit import admit
from fedcli.operations.aggregate import aggregate
from fedcli.operations.init import init
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.prepare import PrepareRequest, prepare
from fedcli.operations.train_round import train_round
from fedcli.party.party import Environment
from fedcli.plan import Images, Network, Plan, Split, Training
from fedcli.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.operations.aggregate import AggregateResult
    from fedcli.operations.train_round import TrainRoundResult

SITES = ("north", "valley")
PLAN = Plan(
    name="test",
    seed=7,
    rounds=2,
    images=Images(size=16),
    split=Split(train=0.5, validation=0.25, test=0.25),
    network=Network(name="small"),
    training=Training(rate=1e-3, batch_size=8),
)


@dataclass(slots=True)
class Clock:
    """A clock that goes only when it is told to."""

    moment: datetime = datetime(2026, 11, 24, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def pass_hours(self, hours: float) -> None:
        self.moment += timedelta(hours=hours)


def no_passphrase() -> str:
    message = "no key of the tests is encrypted"
    raise AssertionError(message)


def prepared_data(folder: Path, plan: Plan = PLAN, patients: int = 16, sites: tuple[str, ...] = SITES) -> dict[str, Path]:
    """Write and prepare the phantoms of every site."""
    found = {}
    for hospital in hospitals.DEMO_HOSPITALS:
        if hospital.name not in sites:
            continue
        small = hospitals.Hospital(
            name=hospital.name, scanner=hospital.scanner, class_mix=hospital.class_mix, num_patients=patients
        )
        archive = hospitals.write(folder / "archives" / hospital.name, small, seed=plan.seed, progress=Silent())
        found[hospital.name] = folder / "prepared" / hospital.name
        prepare(
            PrepareRequest(
                archive=archive.directory, labels=archive.labels, workspace=folder / "none", plan=plan, out=found[hospital.name]
            ),
            Silent(),
        )
    return found


@dataclass(slots=True)
class Federation:
    """A federation that has begun; every member is admitted.

    Attributes:
        root: Holds the drop folder and the workspaces.
        fingerprint: The coordinator's.
        clock: Everybody's.
    """

    root: Path
    prepared: dict[str, Path]
    plan: Plan = PLAN
    fingerprint: str = ""
    clock: Clock = field(default_factory=Clock)

    @property
    def drop(self) -> Path:
        return self.root / "drop"

    @property
    def coordinator(self) -> Path:
        return self.root / "coordinator"

    @property
    def environment(self) -> Environment:
        return Environment(progress=Silent(), passphrase=no_passphrase, clock=self.clock)

    def site(self, name: str) -> Path:
        return self.root / name

    def begin(self) -> Federation:
        self.fingerprint = init(self.coordinator, self.plan, str(self.drop), None, {}, self.environment).coordinator
        for name in self.prepared:
            self.join(name)
        return self

    def join(self, name: str) -> None:
        request = JoinRequest(
            root=self.site(name),
            site=name,
            drop=str(self.drop),
            prepared=str(self.prepared[name]),
            share_dataset=True,
            share_models=True,
        )
        joined = join(request, inspect(str(self.drop), self.fingerprint), self.environment)
        admit(self.coordinator, name, joined.fingerprint, self.environment)

    def train(self, *names: str) -> list[TrainRoundResult]:
        return [train_round(self.site(name), self.environment) for name in names or self.prepared]

    def aggregate(self, **without: str) -> AggregateResult:
        return aggregate(self.coordinator, self.environment, without=without)

    def copy(self, root: Path) -> Federation:
        """Return a copy in another folder; settings name the drop folder by its path, which is rewritten."""
        shutil.copytree(self.root, root)
        for settings in root.glob("*/workspace.toml"):
            settings.write_text(settings.read_text().replace(str(self.root), str(root)))
        return Federation(
            root=root, prepared=self.prepared, plan=self.plan, fingerprint=self.fingerprint, clock=Clock(self.clock.moment)
        )

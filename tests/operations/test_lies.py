"""What the review and the checks make of honest sites, and of a site that lies: rehearsals with three and with seven sites."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import plan as plans
from fedcli import tensors
from fedcli.aggregation.fold import fold
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.update import Update
from fedcli.environment import Environment
from fedcli.errors import TrustError
from fedcli.exchange.claims import check_claims, check_counts
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.phantoms import hospitals
from fedcli.imaging.preparation import LabelFiles
from fedcli.operations.prepare import PrepareRequest, prepare
from fedcli.operations.simulate import SimulateRequest, simulate
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.received_updates import ReceivedUpdates
from fedcli.party.source import Source
from fedcli.party.update_review import review
from fedcli.plan import Choice, Confidentiality, Split
from fedcli.progress import Silent
from tests.fixtures.federation import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.exchange.history import History
    from fedcli.plan import Plan
    from tests.aggregation.models import Arrays

pytestmark = pytest.mark.slow

PATIENTS = (280, 280, 280, 140, 100, 60, 200)


@dataclass(slots=True)
class Rehearsal:
    """A finished federation of honest sites, and what was said in its rounds."""

    folder: Path
    plan: Plan
    events: list[str] = field(default_factory=list)

    def run(self, count: int) -> Rehearsal:
        """Let sites of different sizes, on three scanners, train the plan's twenty rounds."""
        sites = {}
        for number, patients in enumerate(PATIENTS[:count]):
            model = hospitals.PLAIN_HOSPITALS[number % 3]
            hospital = replace(model, name=f"{model.name}-{number}", num_patients=patients)
            labels = hospitals.write(self.folder / "archives" / hospital.name, hospital, seed=1, progress=Silent())
            sites[hospital.name] = self.folder / "prepared" / hospital.name
            request = PrepareRequest(
                archive=ImageArchive(folder=labels.parent),
                labels=LabelFiles(table=labels),
                workspace=self.folder / "none",
                plan=self.plan,
                out=sites[hospital.name],
            )
            prepare(request, Silent())
        listener = Listener()
        simulate(
            SimulateRequest(plan=self.plan, sites=sites, drop=self.folder / "drop", threads=1), Environment(progress=listener)
        )
        self.events = listener.events
        return self

    def history(self) -> History:
        request = VerifyRequest(source=Source(address=str(self.folder / "drop"), coordinator=None))
        return verify(request, Environment())[1]

    def reviewed(self, history: History, number: int, liar: str, lie: Callable[[Arrays], Arrays]) -> dict[str, tuple[str, ...]]:
        """Return what the review says of each site if one of them had sent something else."""
        received = ReceivedUpdates(members=history.sites)
        for site in history.sites:
            update = history.updates[site, number]
            path = self.folder / "drop" / update.artifact.key
            if site == liar:
                path = self.folder / "lie"
                path.unlink(missing_ok=True)
                tensors.write(path, lie(tensors.read(self.folder / "drop" / update.artifact.key)))
            received.records[site] = update
            received.updates[site] = Update(site=site, path=path, weight=update.record.steps)
        before = self.folder / "drop" / history.rounds[number - 1].artifact.key
        layout = tensors.layout_of(tensors.read(before))
        base = Update(site="coordinator", path=before)
        folded = fold(rule_of(self.plan.aggregation), layout, base, list(received.updates.values()), None)
        figures = review(received, folded.shares, self.plan, datetime(2026, 12, 1, tzinfo=UTC))
        return {item.site: item.odd for item in figures}


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The demonstration's as it was when docs/studies.md was measured, in plain: the lies are made of what a site has sent."""
    demo = plans.load(Path(plans.__file__).parents[1] / "demo_plan.toml")
    return replace(
        demo,
        rounds=20,
        split=Split(train=0.40, validation=0.17, test=0.43),
        training=replace(demo.training, rate_step=7),
        evaluation=replace(demo.evaluation, choice=Choice.HIGHEST),
        confidentiality=Confidentiality(sealing=False),
    )


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> Rehearsal:
    return Rehearsal(tmp_path_factory.mktemp("three"), plan).run(3)


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> Rehearsal:
    return Rehearsal(tmp_path_factory.mktemp("seven"), plan).run(7)


@pytest.mark.parametrize("count", ["three", "seven"])
def test_twenty_honest_rounds_have_no_flag_and_no_rejection(count: str, request: pytest.FixtureRequest) -> None:
    rehearsal: Rehearsal = request.getfixturevalue(count)
    assert [text for text in rehearsal.events if "look at" in text or "reject" in text] == []
    history = rehearsal.history()
    assert not history.problems
    assert len(history.rounds) == 21
    assert not [item for closed in history.rounds for item in closed.record.rejected]


def times(factor: float) -> Callable[[Arrays], Arrays]:
    return lambda delta: {name: value * np.float32(factor) for name, value in delta.items()}


def noise(delta: Arrays) -> Arrays:
    """Return a random delta whose tensors have the same norms."""
    generator = np.random.default_rng(0)
    made = {}
    for name, value in delta.items():
        random = generator.standard_normal(value.shape)
        made[name] = (random * np.linalg.norm(value) / np.linalg.norm(random)).astype(np.float32)
    return made


LIES = {"turned": times(-1), "twenty times": times(20), "a twentieth": times(0.05), "noise": noise}


def caught(rehearsal: Rehearsal) -> tuple[Counter[str], Counter[str], int]:
    """Return how often each lie of one site is flagged, and how often an honest one then is; and the number of lies."""
    history = rehearsal.history()
    liars, others, told = Counter[str](), Counter[str](), 0
    for number in range(1, len(history.rounds)):
        for site in history.sites:
            told += 1
            for name, lie in LIES.items():
                odd = rehearsal.reviewed(history, number, site, lie)
                liars[name] += bool(odd.pop(site))
                others[name] += any(odd.values())
    return liars, others, told


def test_what_the_review_sees_among_seven(seven: Rehearsal) -> None:
    """As docs/studies.md has it: a turned update, or noise, looks like an honest site that differs from the others."""
    liars, others, told = caught(seven)
    assert told == 140
    assert min(liars["twenty times"], liars["a twentieth"]) > 0.9 * told
    assert 0 < liars["turned"] < 0.5 * told
    assert others["twenty times"] == 0
    assert max(others.values()) < 0.25 * told


def test_what_the_review_sees_among_three(three: Rehearsal) -> None:
    liars, others, told = caught(three)
    assert told == 60
    assert min(liars["twenty times"], liars["a twentieth"]) > 0.6 * told
    assert others["twenty times"] == 0


@pytest.mark.parametrize("count", ["three", "seven"])
def test_false_counts_are_always_refused(count: str, request: pytest.FixtureRequest) -> None:
    rehearsal: Rehearsal = request.getfixturevalue(count)
    history, plan = rehearsal.history(), rehearsal.plan
    for (site, _), update in history.updates.items():
        claims = update.record
        with pytest.raises(TrustError, match="1000000 steps, expected at most"):
            check_claims(update.key, replace(claims, steps=1_000_000), plan)
        images = 10 * claims.images
        many = replace(claims, images=images, steps=plan.training.epochs * plan.training.steps_per_epoch(images))
        check_claims(update.key, many, plan)
        check_counts(update, history.datasets[site])
        with pytest.raises(TrustError, match="training images of"):
            check_counts(replace(update, record=many), history.datasets[site])

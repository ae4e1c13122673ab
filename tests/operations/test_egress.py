"""The look at an update before it leaves, and the log of what left."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli import wire
from fedcli.errors import ApprovalError
from fedcli.exchange import layout
from fedcli.exchange.sent_log import SentLog
from fedcli.operations.approve import ApproveRequest, approve, inspect
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.rotate_key import RotateKeyRequest, rotate_key
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.plan import Encoding, Packing, Updates
from fedcli.results import Status
from fedcli.site.egress import Note, note_of
from tests.fixtures.federation import PLAN, Federation, Listener

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.operations.train_round import TrainRoundResult
    from fedcli.site.egress import Egress

UPDATE = layout.update("north", 1)


@dataclass(slots=True)
class Person:
    """Looks at everything, and always says the same.

    Attributes:
        federation: Whose drop folder is looked at while being asked.
        says: The answer.
        seen: What was shown.
        published: Files in the drop folder while the person was looking.
    """

    federation: Federation
    says: bool
    seen: list[Egress] = field(default_factory=list)
    published: list[dict[str, bytes]] = field(default_factory=list)

    def __call__(self, egress: Egress) -> bool:
        self.seen.append(egress)
        self.published.append(self.federation.files())
        return self.says


def ask_always(federation: Federation) -> None:
    path = federation.site("north") / "workspace.toml"
    path.write_text(path.read_text().replace('review = "auto"', 'review = "ask"'))
    assert 'review = "ask"' in path.read_text()


def trained_under(federation: Federation, reviewer: Person | None, *, review: bool = True) -> TrainRoundResult:
    return train_round(TrainRoundRequest(root=federation.site("north"), review=review, reviewer=reviewer), federation.environment)


def committed(federation: Federation) -> dict[str, bytes]:
    folder = federation.site("north") / "outbox"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_anybody_to_ask_the_update_is_held_and_trained_once(begun: Federation) -> None:
    ask_always(begun)
    before = begun.files()
    first = begun.train("north")[0]
    assert first.status is Status.WAITING
    assert first.steps is not None
    assert f"fedcli train-round -C {begun.site('north')} --review" in first.message
    held = committed(begun)
    second = begun.train("north")[0]
    assert (second.status, second.steps, second.message) == (Status.WAITING, None, first.message)
    assert committed(begun) == held
    assert begun.files() == before
    assert not (begun.site("north") / "state").exists()


def test_cron_hears_once_that_an_update_is_held(begun: Federation) -> None:
    listener = Listener()
    environment = replace(begun.environment, progress=listener)
    for _ in range(2):
        train_round(TrainRoundRequest(root=begun.site("north"), review=True), environment)
    *advice, held = listener.events
    assert held == "north: the update of round 1 is trained, and held for review"
    assert [" ".join(sentence.split(": ")[:2]) for sentence in advice] == [
        "north only 5 steps per round",
        "north only 3 validation patients",
    ]


def test_the_person_sees_everything_that_leaves_before_it_does(begun: Federation) -> None:
    before = begun.files()
    person = Person(begun, says=True)
    result = trained_under(begun, person)
    assert (result.status, result.steps) == (Status.PUBLISHED, person.seen[0].record.steps)
    assert person.published == [before]
    after = begun.files()
    assert [(key, size) for key, _, size in person.seen[0].files] == [
        (key, len(after[key])) for key, _, _ in person.seen[0].files
    ]
    assert {key for key, _, _ in person.seen[0].files} == after.keys() - before.keys()
    assert wire.encode(person.seen[0].record) == after[UPDATE]
    assert (begun.site("north") / "state/round-0001").is_dir()
    assert committed(begun) == {}
    assert [outcome.status for outcome in begun.train("valley")] == [Status.PUBLISHED]
    assert begun.aggregate().used == ("north", "valley")


def test_a_no_leaves_nothing_and_loses_nothing(begun: Federation) -> None:
    before = begun.files()
    with pytest.raises(ApprovalError, match="the update of round 1 is held, and nothing has been published") as caught:
        trained_under(begun, Person(begun, says=False))
    assert "--review` shows it again" in caught.value.hint
    held = committed(begun)
    assert begun.files() == before
    unasked = begun.train("north")[0]
    assert (unasked.status, unasked.steps) == (Status.WAITING, None)
    rotate_key(RotateKeyRequest(root=begun.site("north"), key=None), begun.environment)
    assert {key for key in begun.files().keys() - before.keys() if "enrolment-0001" not in key} == set(), (
        "no other command sends it"
    )
    result = trained_under(begun, Person(begun, says=True))
    assert (result.status, result.steps) == (Status.PUBLISHED, None)
    after = begun.files()
    manifest = json.loads(held["round-0001/manifest.json"])
    assert {entry["key"]: held[f"round-0001/{entry['file']}"] for entry in manifest["entries"]}.items() <= after.items()
    state = begun.site("north") / "state/round-0001"
    assert {f"round-0001/state/{path.name}": path.read_bytes() for path in state.iterdir()}.items() <= held.items()
    assert begun.train("north")[0].status is Status.WAITING


class Gone(Person):
    """Leaves the room."""

    def __call__(self, egress: Egress) -> bool:
        raise KeyboardInterrupt(egress.name)


def test_interrupted_while_asking_the_update_stays_held(begun: Federation) -> None:
    before = begun.files()
    with pytest.raises(KeyboardInterrupt):
        trained_under(begun, Gone(begun, says=True))
    held = committed(begun)
    assert begun.train("north")[0].status is Status.WAITING
    assert (begun.files(), committed(begun)) == (before, held)


def test_a_round_that_was_closed_without_it_drops_a_held_update(begun: Federation) -> None:
    trained_under(begun, None)
    begun.train("valley")
    begun.aggregate(north="no answer")
    listener = Listener()
    result = train_round(TrainRoundRequest(root=begun.site("north")), replace(begun.environment, progress=listener))
    assert (result.status, result.round) == (Status.PUBLISHED, 2)
    assert listener.events[0] == (
        "north: dropping the held update round-0001, which cannot be used any more: it is not for round 2, which is open"
    )
    assert UPDATE not in begun.files()
    assert committed(begun) == {}


def test_a_changed_plan_drops_a_held_update_and_it_is_trained_by_the_new_one(begun: Federation) -> None:
    trained_under(begun, None)
    plan = replace(begun.plan, training=replace(begun.plan.training, rate=5e-4))
    begun.amend(plan)
    with pytest.raises(ApprovalError, match="the plan is now"):
        trained_under(begun, Person(begun, says=True))
    approve(
        ApproveRequest(root=begun.site("north"), digest=inspect(begun.site("north"), begun.environment).digest), begun.environment
    )
    person = Person(begun, says=True)
    assert trained_under(begun, person).steps is not None
    assert [egress.record.plan for egress in person.seen] == [plan.digest]


def test_an_update_from_a_second_machine_is_adopted_and_the_held_one_dropped(begun: Federation) -> None:
    trained_under(begun, None)
    shutil.copytree(begun.site("north"), begun.site("north-two"), ignore=shutil.ignore_patterns("outbox"))
    begun.clock.pass_hours(1)
    assert begun.train("north-two")[0].status is Status.PUBLISHED
    published = begun.files()
    person = Person(begun, says=True)
    assert trained_under(begun, person).status is Status.WAITING
    assert (person.seen, begun.files()) == ([], published)
    begun.train("valley")
    begun.aggregate()
    assert begun.train("north")[0].round == 2
    assert committed(begun) == {}


@pytest.mark.parametrize(
    "travel", [Updates(), Updates(encoding=Encoding.INT8, packing=Packing.ZSTD)], ids=["as it is", "compact"]
)
def test_the_norms_are_those_of_what_the_others_decode(tmp_path: Path, prepared: dict[str, Path], travel: Updates) -> None:
    federation = Federation(root=tmp_path, prepared={"north": prepared["north"]}, plan=replace(PLAN, updates=travel)).begin()
    person = Person(federation, says=True)
    trained_under(federation, person)
    egress = person.seen[0]
    assert math.hypot(*(item.norm for item in egress.groups)) == pytest.approx(egress.record.norm, rel=1e-12)
    assert [item.group for item in egress.groups] == ["0", "1", "3", "4", "6", "7", "9", "10", "14"]
    assert sum(item.values for item in egress.groups) == 60_660
    assert federation.aggregate().status is Status.PUBLISHED


names = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map(".".join)
values = st.lists(st.floats(-1e6, 1e6, width=32), max_size=5).map(lambda found: np.array(found, np.float32))


@given(delta=st.dictionaries(names, values))
def test_every_number_counts_in_one_group(delta: dict[str, np.ndarray]) -> None:
    groups = wire.decode(Note, note_of({**delta, "counter": np.array([7])})).groups
    whole = np.concatenate([np.zeros(0, np.float32), *delta.values()]).astype(np.float64)
    assert sum(item.values for item in groups) == whole.size
    assert math.hypot(*(item.norm for item in groups)) == pytest.approx(float(np.linalg.norm(whole)))
    assert max((item.largest for item in groups), default=0) == max(map(abs, whole.tolist()), default=0)
    assert len({item.group for item in groups}) == len(groups)


def test_layers_are_grouped_by_the_first_parts_of_their_names() -> None:
    names = ("features.denseblock1.denselayer1.conv1.weight", "features.denseblock1.denselayer2.norm1.bias",
             "features.conv0.weight", "classifier.weight", "classifier.bias", "scale")  # fmt: skip
    groups = wire.decode(Note, note_of({name: np.ones(2, np.float32) for name in names})).groups
    assert {item.group: item.values for item in groups} == {
        "features.denseblock1": 4, "features.conv0": 2, "classifier": 4, "scale": 2,
    }  # fmt: skip


def test_everything_that_a_party_published_is_logged_once(finished: Federation) -> None:
    command = replace(finished.environment, command="evaluate")
    evaluate(EvaluateRequest(root=finished.site("north")), command)
    evaluate(EvaluateRequest(root=finished.site("north")), command)
    published = finished.files()
    for name, prefix in (("coordinator", "coordinator/"), ("north", "sites/north/"), ("valley", "sites/valley/")):
        lines = SentLog(finished.root / name / "sent.log").lines()
        expected = {key: (len(data), wire.sha256(data)) for key, data in published.items() if key.startswith(prefix)}
        assert {line.key: (line.bytes, line.sha256) for line in lines} == expected
        assert len(lines) == len(expected)
    lines = SentLog(finished.site("north") / "sent.log").lines()
    assert {line.command for line in lines if "/models/" in line.key or "/evaluation/" in line.key} == {"evaluate"}
    assert {line.command for line in lines if "/round-" in line.key or "/enrolment-" in line.key} == {""}
    assert {line.moment for line in lines} == {finished.clock()}

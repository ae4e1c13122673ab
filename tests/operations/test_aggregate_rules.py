"""Every rule through the real commands: what a round record says of it, and its replay by anybody."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import tensors, wire
from fedcli.errors import ConfigurationError
from fedcli.exchange import layout
from fedcli.exchange.records import Role
from fedcli.operations.init import InitRequest, init
from fedcli.party.transfer.outgoing import describe
from fedcli.plan import Aggregation, Limits, Plan, Rule, Weights
from fedcli.results import Status
from tests.fixtures.federation import Federation, begun_by_hand
from tests.fixtures.tampering import flip, rewrite

if TYPE_CHECKING:
    from pathlib import Path

SITES = ("ash", "birch", "cedar", "fir", "oak")


@pytest.mark.parametrize(
    "settings",
    [
        *(Aggregation(rule=rule) for rule in Rule),
        Aggregation(weights=Weights.PATIENTS),
        Aggregation(rule=Rule.KRUM, keep=3, clip_norm=0.5),
        Aggregation(rule=Rule.YOGI, clip_norm=0.5, server_rate=0.01, weights=Weights.EQUAL),
    ],
    ids=lambda settings: f"{settings.rule}-{settings.weights}-{settings.clip_norm:g}",
)
def test_rounds_are_published_verified_and_replayed(tmp_path: Path, settings: Aggregation) -> None:
    federation = begun_by_hand(tmp_path / "f", *SITES, aggregation=settings)
    federation.run(3)
    stateful = settings.rule in {Rule.MOMENTUM, Rule.ADAM, Rule.YOGI, Rule.AVERAGED}
    for number in (1, 2, 3):
        record = federation.record(number)
        assert record.rule is settings.rule
        assert [item.site for item in record.contributions] == list(SITES)
        assert [item.role for item in record.artifacts] == [Role.MODEL, Role.SERVER_STATE][: 1 + stateful]
        assert len([item for item in record.contributions if item.weight]) == (settings.keep if settings.rule is Rule.KRUM else 5)
    found = federation.verify()
    assert (found.verified, found.replayed, found.problems) == (True, 3, ())
    assert found.unaccounted == ()
    assert found.artifacts == 4 + 15 + 3 * stateful
    assert any((federation.model(1)[name] != value).any() for name, value in federation.model(0).items())


def test_an_average_over_another_number_of_rounds_begins_again(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", aggregation=Aggregation(rule=Rule.AVERAGED, averaged_rounds=3))
    federation.run(2)
    plan = replace(federation.plan, aggregation=Aggregation(rule=Rule.AVERAGED, averaged_rounds=2))
    federation.amend(plan)
    for site in ("a", "b"):
        federation.send(site, 3, plan=plan.digest)
    federation.aggregate()
    state = tensors.read(state_file(federation, 3))
    assert {name.partition("/")[0] for name in state} == {"difference_01"}
    before, after = federation.model(2), federation.model(3)
    for name, difference in state.items():  # half of the mean remains, as in a first round
        moved = after[name.partition("/")[2]].astype(np.float64) - before[name.partition("/")[2]]
        np.testing.assert_allclose(difference, moved, rtol=0, atol=1e-6)
    assert federation.verify().replayed == 3


def test_weights_are_patients_where_the_plan_says_so(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", aggregation=Aggregation(weights=Weights.PATIENTS))
    federation.send("a", 1, patients=30)
    federation.send("b", 1, patients=10)
    federation.aggregate()
    assert [item.weight for item in federation.record(1).contributions] == [30, 10]
    for name, value in federation.model(0).items():
        if value.dtype == np.float32:
            total = 0.0 + 30 * federation.delta("a", 1)[name].astype(float)
            total = total + 10 * federation.delta("b", 1)[name].astype(float)
            assert (federation.model(1)[name] == (value + total / 40).astype(np.float32)).all()


def test_an_update_without_weight_is_rejected_by_name(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", aggregation=Aggregation(weights=Weights.PATIENTS))
    federation.send("a", 1)
    federation.send("b", 1, patients=0)
    found = federation.aggregate()
    assert found.status is Status.WAITING
    assert [(item.site, "0 patients, expected 1 to" in item.reason) for item in found.rejected] == [("b", True)]


def test_the_rule_waits_for_as_many_updates_as_it_needs(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", *SITES, aggregation=Aggregation(rule=Rule.KRUM, byzantine=1))
    for site in SITES:
        federation.send(site, 1)
    found = federation.aggregate(oak="broken scanner")
    assert found.status is Status.WAITING
    assert "the rule krum needs at least 5 updates" in found.message
    assert federation.aggregate().status is Status.PUBLISHED


def test_the_round_goes_on_without_a_site_that_is_not_finite(tmp_path: Path) -> None:
    settings = Aggregation(rule=Rule.KRUM, byzantine=0, quorum=3, deadline_hours=1.0)
    federation = begun_by_hand(tmp_path / "f", "a", "b", "c", "d", "e", aggregation=settings)
    federation.run(1)
    for site in ("a", "b", "c", "d", "e"):
        federation.send(site, 2)
    spoiled = federation.delta("c", 2)
    name = next(name for name, value in spoiled.items() if value.dtype == np.float32)
    spoiled[name].reshape(-1)[0] = np.inf
    federation.send("c", 2, delta=spoiled)
    federation.clock.pass_hours(2)
    found = federation.aggregate()
    assert (found.status, found.used) == (Status.PUBLISHED, ("a", "b", "d", "e"))
    (refused,) = federation.record(2).rejected
    assert refused.reason == f"the update of c holds NaN or infinity in tensor {name}"
    assert refused.update == wire.sha256((federation.drop / layout.update("c", 2)).read_bytes())
    assert federation.verify().verified


def state_file(federation: Federation, number: int) -> Path:
    return federation.drop / federation.record(number).artifacts[1].key


def test_a_tampered_state_stops_the_coordinator_and_fails_verification(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", aggregation=Aggregation(rule=Rule.ADAM))
    federation.run(1)
    path = state_file(federation, 1)
    flip(path)
    found = federation.verify()
    assert not found.consistent
    assert [problem.key for problem in found.problems] == [path.relative_to(federation.drop).as_posix()]
    for site in ("a", "b"):
        federation.send(site, 2)
    with pytest.raises(Exception, match=path.name):
        federation.aggregate()
    assert not (federation.drop / layout.round_record(2)).exists()


def test_replay_catches_a_state_that_its_own_coordinator_signed(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", aggregation=Aggregation(rule=Rule.MOMENTUM))
    federation.run(1)
    path = state_file(federation, 1)
    state = tensors.read(path)
    next(iter(state.values())).reshape(-1)[0] += 1
    path.unlink()
    measured = tensors.write(federation.root / "new", state)
    artifact = describe(layout.round_record(1), Role.SERVER_STATE, measured)
    (federation.root / "new").rename(federation.drop / artifact.key)
    rewrite(federation, layout.round_record(1), artifacts=[wire.plain(federation.record(1).artifacts[0]), wire.plain(artifact)])
    found = federation.verify()
    assert not found.consistent
    assert f"{artifact.key}: replay gives" in found.problems[0].message


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"norm": 5.0}, "norm of b: replay gives"),
        ({"cosine": -0.5}, "cosine of b: replay gives"),
        ({"cosine": None}, "cosine of b: replay gives"),
    ],
)
def test_replay_catches_a_figure_that_is_made_up(tmp_path: Path, change: dict[str, float | None], match: str) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b")
    federation.run(1)
    first, second = wire.plain(federation.record(1))["contributions"]
    nearly = second | {"norm": second["norm"] * (1 + 2e-6), "cosine": second["cosine"] + 2e-6}
    rewrite(federation, layout.round_record(1), contributions=[first, nearly])
    assert federation.verify().verified
    rewrite(federation, layout.round_record(1), contributions=[first, second | change])
    assert match in federation.verify().problems[0].message


def test_replay_catches_a_choice_that_krum_did_not_make(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", "c", aggregation=Aggregation(rule=Rule.KRUM, byzantine=0))
    federation.run(1)
    used = wire.plain(federation.record(1))["contributions"]
    chosen = next(number for number, item in enumerate(used) if item["weight"])
    other = (chosen + 1) % 3
    used[chosen]["weight"], used[other]["weight"] = 0, used[other]["steps"]
    rewrite(federation, layout.round_record(1), contributions=used)
    assert "weight of" in federation.verify().problems[0].message


def test_an_update_that_was_changed_afterwards_fails_the_replay_and_is_named(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b")
    federation.run(2)
    path = next((federation.drop / "sites/b/round-0001").glob("*.safetensors"))
    flip(path)
    found = federation.verify()
    assert found.replayed == 1
    keys = {problem.key for problem in found.problems}
    assert keys == {layout.round_record(1), path.relative_to(federation.drop).as_posix()}


def test_a_plan_with_too_little_room_for_the_servers_state_is_refused(tmp_path: Path) -> None:
    rule = Aggregation(rule=Rule.AVERAGED, averaged_rounds=20)
    plan = Plan(name="large", aggregation=rule, limits=Limits(model_mb=500))
    federation = Federation(root=tmp_path / "f", plan=plan)
    with pytest.raises(
        ConfigurationError, match=r"limits.model_mb = 500, expected at least 529: the state of the server has 52\d,"
    ):
        init(InitRequest(root=federation.coordinator, plan=plan, source=federation.source()), federation.environment)

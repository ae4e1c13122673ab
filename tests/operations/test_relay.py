"""Trees of federations: a region is a federation of its own, and one site of the federation above."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli import wire
from fedcli.cohort import MAX_COUNT
from fedcli.environment import Environment
from fedcli.errors import ApprovalError, ConfigurationError, TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.history.best_round import best_round
from fedcli.exchange.records import Restart, SumRecord, ValidationScore
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import aggregate
from fedcli.operations.init import InitRequest, init
from fedcli.operations.relay import RelayRequest, relay
from fedcli.operations.restart import RestartRequest, restart
from fedcli.operations.schedule.scheduled_command import ScheduledCommand, ScheduleRequest
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.source import Source
from fedcli.plan import Aggregation, Confidentiality, Limits, Rule, Tree
from fedcli.progress import Silent
from tests.fixtures.federation import PLAN, Clock, Federation, no_passphrase
from tests.fixtures.files import files_below
from tests.fixtures.killing import chosen, run_dying
from tests.fixtures.places import Place, on_s3, on_sftp
from tests.fixtures.tampering import rewrite
from tests.fixtures.tree import REGIONS, begun_region, begun_tree, join_by_hand, relay_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.servers import S3, Sshd
    from tests.fixtures.tree import FederationTree


@pytest.fixture(scope="module")
def begun_once(tmp_path_factory: pytest.TempPathFactory) -> FederationTree:
    return begun_tree(tmp_path_factory.mktemp("begun") / "t")


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory, begun_once: FederationTree) -> FederationTree:
    tree = begun_once.copy(tmp_path_factory.mktemp("finished") / "t")
    tree.run(2)
    return tree


@pytest.fixture
def tree(tmp_path: Path, begun_once: FederationTree) -> FederationTree:
    return begun_once.copy(tmp_path / "t")


@pytest.fixture
def finished(tmp_path: Path, finished_once: FederationTree) -> FederationTree:
    return finished_once.copy(tmp_path / "f")


def test_a_tree_of_three_by_three_gives_the_models_of_one_flat_federation(tmp_path: Path, finished_once: FederationTree) -> None:
    flat = Federation(root=tmp_path / "flat", by_hand=tuple(site for sites in REGIONS.values() for site in sites)).begin()
    flat.run(2)
    for number in range(3):
        above, expected = finished_once.top.model(number), flat.model(number)
        for name, value in expected.items():
            if value.dtype == np.int64:
                assert np.abs(above[name] - value).max() <= number
            else:
                np.testing.assert_allclose(above[name], value, rtol=0, atol=2e-7)
        digest = finished_once.top.record(number).artifacts[0].content_sha256
        assert {item.record(number).artifacts[0].content_sha256 for item in finished_once.regions.values()} == {digest}


def test_verify_follows_the_tree(finished_once: FederationTree) -> None:
    result = finished_once.top.verify(tree=finished_once.sources)
    assert (result.status, result.replayed, result.followed, result.unfollowed) == ("verified", 2, 6 + 9, ())
    assert "6 rounds of the others recomputed" in result.message
    alone = finished_once.top.verify()
    assert alone.status == "verified"
    assert [text.split(":")[0] for text in alone.unfollowed] == [f"2 updates of region {name}" for name in REGIONS]
    below = finished_once.regions["east"].verify()
    assert (below.status, below.replayed) == ("verified", 2)
    assert below.unfollowed[0].startswith("3 models taken from above: the drop folder of federation ")


def test_counts_that_a_record_cannot_state_in_all_are_stated_as_the_largest(tree: FederationTree) -> None:
    east = tree.regions["east"]
    east.send("amber", 1)
    east.send("brook", 1, images=MAX_COUNT, received=ValidationScore(patients=MAX_COUNT, loss=1.2, kappa=0.4))
    east.send("cove", 1)
    assert relay_in(east).sent
    record = tree.top.update("east", 1)
    assert (record.images, record.received.patients) == (MAX_COUNT, MAX_COUNT)
    tree.send(1, "south", "west")
    tree.relay("south", "west")
    tree.top.aggregate()
    tree.relay()
    assert tree.top.verify(tree=tree.sources).problems == ()


def test_who_is_awaited_waits_for_nobody_else_and_does_nothing_twice(tree: FederationTree) -> None:
    east, top = tree.regions["east"], tree.top
    east.send("amber", 1)
    waiting = relay_in(east)
    assert (waiting.status, waiting.used, waiting.absent, waiting.sent) == ("waiting", ("amber",), ("brook", "cove"), False)
    assert "waiting for all sites; to continue without: " in waiting.message
    east.send("brook", 1)
    east.send("cove", 1)
    assert east.status("coordinator").message.startswith("Your turn: fedcli relay")
    sent = relay_in(east)
    assert (sent.status, sent.sent, sent.used) == ("published", True, east.by_hand)
    assert relay_in(east).status == "waiting"
    assert east.aggregate().status == "waiting"
    assert east.status().message.startswith("The round is summed; its model comes from the federation above: ")
    record = top.update("east", 1)
    assert (record.payload, record.steps, record.images) == ("weighted_sum", 15 + 15 + 14, 8 * 44)
    assert (record.received.patients, record.received.kappa) == (60, pytest.approx(0.4))
    tree.send(1, "south", "west")
    tree.relay("south", "west")
    top.aggregate()
    taken = tree.relay()["east"]
    assert (taken.status, taken.taken, taken.round) == ("published", (1,), 2)
    assert top.status().message.startswith("Turn of east, south, west: fedcli relay")
    before = east.files() | top.files()
    assert relay_in(east).status == "waiting"
    assert east.files() | top.files() == before


def test_a_region_that_was_absent_takes_the_models_and_discards_its_updates(tree: FederationTree) -> None:
    east, top = tree.regions["east"], tree.top
    east.send("amber", 1)
    tree.send(1, "south", "west")
    tree.relay()
    top.aggregate(east="the line is down")
    tree.relay("south", "west")
    tree.send(2, "south", "west")
    tree.relay("south", "west")
    top.aggregate(east="the line is down")
    result = relay_in(east)
    assert (result.status, result.taken) == ("published", (1, 2))
    first = east.record(1)
    assert [(item.site, item.reason) for item in first.rejected] == [
        ("amber", "the federation above has closed the round without this region")
    ]
    assert (first.contributions, first.absent, first.restart) == ((), ("brook", "cove"), None)
    assert east.verify().problems == ()
    assert top.verify(tree=tree.sources).problems == ()


def test_a_mean_that_came_too_late_stays_in_the_region_s_record(tree: FederationTree) -> None:
    east, top = tree.regions["east"], tree.top
    tree.send(1)
    assert east.aggregate().message.endswith(f"next: `fedcli relay -C {east.coordinator}`")
    tree.relay("south", "west")
    top.aggregate(east="its mean is late")
    relay_in(east)
    assert [item.site for item in east.record(1).contributions] == list(east.by_hand)
    assert [item.site for item in top.record(1).contributions] == ["south", "west"]
    assert top.verify(tree=tree.sources).problems == ()


def test_a_restart_above_is_one_in_every_region(tree: FederationTree) -> None:
    tree.run(1)
    tree.send(2)
    tree.relay("east")
    restart(RestartRequest(root=tree.top.coordinator, number=0, reason="wrong labels"), tree.top.environment)
    tree.relay()
    for region in tree.regions.values():
        record = region.record(2)
        assert (record.restart, record.contributions) == (Restart(round=0, reason="wrong labels"), ())
        assert region.model(2).keys() == region.model(0).keys()
        assert record.artifacts[0].content_sha256 == region.record(0).artifacts[0].content_sha256
        assert region.verify().problems == ()
    assert tree.top.verify(tree=tree.sources).problems == ()
    with pytest.raises(UsageError, match="is a region, whose models come from the federation above"):
        restart(RestartRequest(root=tree.regions["east"].coordinator, number=1, reason="no"), tree.top.environment)


def test_quorum_and_deadline_hold_at_each_level(tmp_path: Path) -> None:
    late = replace(PLAN, aggregation=Aggregation(quorum=1, deadline_hours=24))
    tree = begun_tree(tmp_path / "t", {"east": ("amber", "brook"), "west": ("glen",)}, below=late)
    east = tree.regions["east"]
    east.send("amber", 1)
    assert relay_in(east).status == "waiting"
    east.clock.pass_hours(25)
    assert relay_in(east).sent
    assert east.record(0).relayed is not None
    assert tree.top.update("east", 1).steps == 15
    tree.send(1, "west")
    tree.relay("west")
    tree.top.aggregate()
    relay_in(east)
    assert (east.record(1).absent, tree.top.record(1).absent) == (("brook",), ())


def test_a_region_may_have_regions(tmp_path: Path) -> None:
    middle = replace(PLAN, tree=Tree(regions=True))
    tree = begun_tree(tmp_path / "t", {"east": ()}, below=middle)
    east = tree.regions["east"]
    town = begun_region(east, "town", tmp_path / "t" / "town", ("amber", "brook"))
    for number in (1, 2):
        for site in town.by_hand:
            town.send(site, number)
        for region in (town, east):
            relay_in(region)
        tree.top.aggregate()
        for region in (east, town):
            relay_in(region)
    flat = Federation(root=tmp_path / "flat", by_hand=("amber", "brook")).begin()
    flat.run(2)
    for name, value in flat.model(2).items():
        np.testing.assert_allclose(town.model(2)[name], value, rtol=0, atol=2e-7)
    sources = (*tree.sources, Source(address=str(town.drop)))
    result = tree.top.verify(tree=sources)
    assert (result.problems, result.followed, result.unfollowed) == ((), 2 + 3 + 2 + 3, ())
    assert town.verify(tree=(Source(address=str(east.drop)),)).unfollowed[0].startswith(f"{east.drop}: 3 models taken from above")


def test_what_keeps_a_region_from_beginning(tmp_path: Path, tree: FederationTree) -> None:
    above = tree.top.site("east")
    request = InitRequest(root=tmp_path / "c", plan=PLAN, source=Source(address=str(tmp_path / "drop")), above=above)
    for plan, message in (
        (
            replace(PLAN, classes=("a", "b", "c", "d", "e")),
            "classes of the plan: expected a, b, c, d, as in the federation above",
        ),
        (replace(PLAN, confidentiality=Confidentiality()), "confidentiality.sealing of the plan: expected False"),
        (
            replace(PLAN, aggregation=Aggregation(rule=Rule.MEDIAN)),
            "the plan cannot be a region's: tree.above needs",
        ),
        (replace(PLAN, tree=Tree(above="0" * 64)), "tree.above of the plan: expected "),
    ):
        with pytest.raises(ConfigurationError, match=message):
            init(replace(request, plan=plan), tree.top.environment)
    with pytest.raises(ConfigurationError, match="the plan is that of a region of the federation 000000000000"):
        init(replace(request, plan=replace(PLAN, tree=Tree(above="0" * 64)), above=None), tree.top.environment)
    assert not (tmp_path / "drop").exists()
    with pytest.raises(UsageError, match=r"tree\.above cannot change: expected ") as raised:
        tree.regions["east"].amend(replace(PLAN, rounds=3))
    assert wire.sha256((tree.top.drop / layout.federation(0)).read_bytes()) in (raised.value.hint or "")


def test_what_keeps_a_region_from_sending(tree: FederationTree) -> None:
    east, top = tree.regions["east"], tree.top
    with pytest.raises(ConfigurationError, match="names no workspace of the federation above"):
        relay(RelayRequest(root=top.coordinator), top.environment)
    with pytest.raises(ConfigurationError, match=r"tree\.above of the plan: expected "):
        relay(RelayRequest(root=top.coordinator, above=top.site("east")), top.environment)
    tree.send(1)
    settings = top.site("east") / "workspace.toml"
    settings.write_text(settings.read_text().replace('review = "auto"', 'review = "ask"'))
    with pytest.raises(ConfigurationError, match="holds updates for a person"):
        relay_in(east)
    settings.write_text(settings.read_text().replace('review = "ask"', 'review = "auto"'))
    top.amend(replace(top.plan, limits=Limits(steps=43)))
    with pytest.raises(ApprovalError, match="east: the plan is now"):
        relay_in(east)
    assert (east.drop / layout.sum_record(1)).exists()
    assert not (top.drop / layout.update("east", 1)).exists()


def test_a_region_counts_by_all_its_steps(tmp_path: Path) -> None:
    tree = begun_tree(tmp_path / "t", {"east": ("amber", "brook")}, limits=Limits(steps=29))
    tree.send(1)
    with pytest.raises(UsageError, match="round 1: the region's sites took 30 steps, expected at most 29"):
        tree.relay()


def test_a_site_not_admitted_above_sums_nothing(tmp_path: Path, tree: FederationTree) -> None:
    flat = Federation(root=tmp_path / "flat").begin()
    join_by_hand(flat, "north")
    north = Federation(root=tmp_path / "north", by_hand=("amber",), above=flat.site("north"), clock=flat.clock).begin()
    north.send("amber", 1)
    assert relay_in(north).message == "the plan above has no regions; its coordinator sets tree.regions = true"
    assert not (north.drop / layout.sum_record(1)).exists()
    assert ScheduledCommand.of(ScheduleRequest(root=north.coordinator)).verb == "relay"


WRONG_SUMS = {
    "round: expected 1, found 2": {"round": 2},
    "parent round: expected ": {"parent": "0" * 64},
    "federation record in force: expected ": {"federation_record": "0" * 64},
    "sites named: expected ": {"absent": ["cove"]},
    "base_norm is stated: expected True": {"base_norm": None},
    "the mean has 4000000001 bytes": {"content_size": 4_000_000_001},
    "the updates give the mean ": {"content_sha256": "0" * 64},
    "schema": {"schema": "fedcli/sum@2"},
}


@pytest.mark.parametrize("message", WRONG_SUMS)
def test_a_sum_that_does_not_hold_is_not_sent(tree: FederationTree, message: str) -> None:
    east = tree.regions["east"]
    tree.send(1, "east")
    east.aggregate()
    rewrite(east, layout.sum_record(1), **WRONG_SUMS[message])
    with pytest.raises(TrustError, match=message):
        relay_in(east)
    assert not (tree.top.drop / layout.update("east", 1)).exists()


def test_a_sum_is_the_coordinator_s(tree: FederationTree) -> None:
    tree.send(1, "east")
    tree.regions["east"].aggregate()
    rewrite(tree.regions["east"], layout.sum_record(1), signer="amber")
    with pytest.raises(TrustError, match=r"sum.json: "):
        relay_in(tree.regions["east"])


def test_an_amendment_waits_until_a_summed_round_is_over(tree: FederationTree) -> None:
    east = tree.regions["east"]
    plan = replace(PLAN, tree=Tree(above=wire.sha256((tree.top.drop / layout.federation(0)).read_bytes())))
    assert east.amend(replace(plan, limits=Limits(steps=77))).from_round == 1
    east = tree.regions["south"]
    tree.send(1, "south")
    east.aggregate()
    for site in east.by_hand:
        (east.drop / layout.update(site, 1)).unlink()
    assert east.amend(replace(plan, limits=Limits(steps=77))).from_round == 2


WRONG_UPDATES: dict[str, dict[str, Any]] = {
    "a region's mean names what it was computed from": {"region": None},
    "a region's mean comes without a data set record": {"training_loss": 1.0},
    "1000001 steps, expected at most 1000000": {"steps": 1_000_001},
}


@pytest.mark.parametrize("message", WRONG_UPDATES)
def test_a_region_s_update_that_does_not_hold_is_rejected(tree: FederationTree, message: str) -> None:
    tree.send(1)
    tree.relay()
    rewrite(tree.top, layout.update("east", 1), **WRONG_UPDATES[message])
    rejected = tree.top.aggregate().rejected
    assert [item.site for item in rejected] == ["east"]
    assert message in rejected[0].reason


def test_a_mean_is_refused_where_the_plan_has_no_regions(tree: FederationTree) -> None:
    tree.send(1)
    tree.relay()
    values = wire.plain(wire.decode(SumRecord, (tree.regions["east"].drop / layout.sum_record(1)).read_bytes()))
    assert values["contributions"][0]["weight"] == 15
    flat = tree.regions["west"]  # which has no regions
    record = wire.plain(tree.top.update("east", 1))
    rewrite(flat, layout.update("glen", 1), payload="weighted_sum", region=record["region"], training_loss=None)
    reason = next(item.reason for item in aggregate_again(flat).rejected if item.site == "glen")
    assert "a region's update (tree.regions of the plan): expected False, found True" in reason


def aggregate_again(region: Federation) -> Any:
    for path in (region.drop / "coordinator" / "round-0001").glob("sum.json*"):
        path.unlink()
    return aggregate(AggregateRequest(root=region.coordinator), region.environment)


WRONG_ROUNDS: dict[str, dict[str, Any]] = {
    "relayed (tree.above of the plan): expected True, found False": {"relayed": None},
    "a region's round has contributions where it names a sum": {"contributions": [], "absent": ["amber", "brook", "cove"]},
    "missing, or not the sum 000000000000": {"relayed": {"record": "1" * 64, "sum": "0" * 64}},
    "rejected differ from those of coordinator/round-0002/sum.json": {},
}


@pytest.mark.parametrize("message", WRONG_ROUNDS)
def test_a_region_s_round_that_does_not_hold_is_a_problem(finished: FederationTree, message: str) -> None:
    east = finished.regions["east"]
    values = WRONG_ROUNDS[message]
    if not values:  # one site fewer than was summed
        kept = wire.plain(east.record(2))["contributions"][:2]
        values = {"contributions": kept, "rejected": [{"site": "cove", "update": None, "reason": "TEXT"}]}
        message = "contributions differ from those of coordinator/round-0002/sum.json"
    rewrite(east, layout.round_record(2), **{name: value for name, value in values.items() if value is not None})
    if values.get("relayed", 0) is None:
        remove(east, layout.round_record(2), "relayed")
    assert any(message in problem.message for problem in east.verify().problems)


def remove(federation: Federation, key: str, name: str) -> None:
    """Leave a value out of a record, and sign it again."""
    rewrite(federation, key, **{name: None})


def test_a_tree_that_does_not_hold_together_is_found_out(finished: FederationTree, tree: FederationTree) -> None:
    tree.send(1)
    tree.relay()
    steps = tree.top.update("east", 1).steps
    rewrite(tree.top, layout.update("east", 1), steps=steps - 1)
    tree.top.aggregate()
    lied = tree.top.verify(tree=tree.sources)
    stated = f"steps: expected {steps}, which follows from the updates that {layout.sum_record(1)} names, found {steps - 1}"
    assert stated in lied.problems[0].message
    assert tree.top.verify().problems == ()
    other = finished.top.verify(tree=(tree.sources[0],))
    assert any("is none that this tree names" in item.message or "names the sum" in item.message for item in other.problems)


def test_killed_anywhere_and_run_again_a_relay_ends_with_the_same_bits(tmp_path: Path, tree: FederationTree) -> None:
    _killed(tmp_path, tree, 3)


@pytest.mark.slow
def test_killed_everywhere_and_run_again_a_relay_ends_with_the_same_bits(tmp_path: Path, tree: FederationTree) -> None:
    _killed(tmp_path, tree, 10_000)


def _killed(tmp_path: Path, tree: FederationTree, most: int) -> None:
    tree.send(1)
    tree.relay("south", "west")

    def attempt(number: int) -> tuple[int | None, FederationTree]:
        copy = tree.copy(tmp_path / str(number))
        work = partial(pass_one_round, copy.regions["east"].coordinator, copy.top.coordinator)
        met = run_dying(number, work, tmp_path / f"said-{number}")
        if met is None:
            assert run_dying(0, work, tmp_path / f"again-{number}") is not None
        return met, copy

    total, calm = attempt(0)
    assert total is not None
    for number in chosen(total, most):
        met, copy = attempt(number)
        assert met is None
        assert _named(copy.top) == _named(calm.top)
        assert _named(copy.regions["east"]) == _named(calm.regions["east"])
    assert calm.regions["east"].record(1).relayed is not None


def _named(federation: Federation) -> dict[str, bytes]:
    """Return what a drop folder has under its keys; a killed copy leaves a hidden file, which a later upload removes."""
    files = federation.files()
    hidden = {key for key in files if not layout.is_key(key)}
    assert all(key.rpartition("/")[2].startswith(".fedcli-") for key in hidden)
    return {key: data for key, data in files.items() if key not in hidden}


def pass_one_round(region: Path, top: Path) -> None:
    """Sum and send, close the round above, and take its model; at a moment that is always the same."""
    environment = Environment(progress=Silent(), passphrase=no_passphrase, clock=Clock())
    relay(RelayRequest(root=region), environment)
    aggregate(AggregateRequest(root=top), environment)
    relay(RelayRequest(root=region), environment)


def test_a_sealed_tree_trains_for_real(tmp_path: Path, prepared: dict[str, Path]) -> None:
    plan = replace(PLAN, rounds=1, confidentiality=Confidentiality())
    top = Federation(root=tmp_path / "top", plan=replace(plan, tree=Tree(regions=True))).begin()
    join_by_hand(top, "east")
    east = Federation(root=tmp_path / "east", prepared=prepared, plan=plan, above=top.site("east"), clock=top.clock).begin()
    east.train()
    assert relay_in(east).sent
    top.aggregate()
    assert relay_in(east).taken == (1,)
    east.train()
    for federation in (top, east):
        found = verify(VerifyRequest(source=federation.source("coordinator"), replay=True), federation.environment)[0]
        assert (found.problems, found.replayed, found.unopened) == ((), 1, 0)
    assert top.verify(replay=False, tree=(Source(address=str(east.drop)),)).followed == 1 + 2
    assert best_round(east.history()).round in {0, 1}


def test_top_and_regions_lie_on_different_kinds_of_store(sshd: Sshd, s3: S3, tree: FederationTree) -> None:
    above, places = on_s3(s3), {"east": on_sftp(sshd), "south": on_s3(s3)}
    above.take_over(tree.top.drop, [tree.top.coordinator, *map(tree.top.site, tree.regions)])
    for name, place in places.items():
        place.take_over(tree.regions[name].drop, [tree.regions[name].coordinator])
    with above.acting():
        for number in (1, 2):
            tree.send(number, "west")
            for name, place in places.items():
                _mirror(place, tree.regions[name], number)
            assert [result.sent for result in tree.relay().values()] == [True] * 3
            assert tree.top.aggregate().used == tuple(tree.regions)
            assert [result.taken for result in tree.relay().values()] == [(number,)] * 3
        sources = [Source(address=place.address, options=place.options) for place in places.values()]
        top = Source(address=above.address, options=above.options, coordinator=tree.top.fingerprint)
        request = VerifyRequest(source=top, replay=True, tree=(*sources, tree.sources[2]))
        result = verify(request, tree.top.environment)[0]
    assert (result.problems, result.replayed, result.followed, result.unfollowed) == ((), 2, 6 + 9, ())


def _mirror(place: Place, region: Federation, number: int) -> None:
    """Send the updates of a region's sites to its place, from a copy of its folder on this machine."""
    store = place.store()
    for key in store.list("coordinator/"):
        (region.drop / key).parent.mkdir(parents=True, exist_ok=True)
        (region.drop / key).write_bytes(store.read(key, 10**7))
    before = files_below(region.drop)
    for site in region.by_hand:
        region.send(site, number)
    for key in sorted(files_below(region.drop).keys() - before.keys(), key=lambda key: (key.endswith(".json"), key)):
        path = region.drop / key
        if layout.is_artifact(key):
            store.put_artifact(key, path)
        else:
            store.publish(key, path.read_bytes())

"""Updates that are signed and well formed, and meant to do harm: each is refused with its site's name, and the others go on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli import wire
from fedcli.exchange import layout
from fedcli.party.update_review import Verdict
from fedcli.plan import Aggregation, Limits, Network, Rule
from fedcli.results import Status
from tests.fixtures.federation import begun_by_hand
from tests.fixtures.tampering import forge, rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.party.update_review import SiteReview
    from tests.aggregation.models import Arrays
    from tests.fixtures.federation import Federation

SITES = ("ash", "birch", "cedar")
LARGEST = float(np.finfo(np.float32).max)
COUNTING = Network(name="shufflenet_v2_x0_5")


def begun(folder: Path, rule: Rule = Rule.MEAN, sites: tuple[str, ...] = SITES, **settings: Any) -> Federation:
    """Begin a federation that goes on with two sites."""
    aggregation = Aggregation(rule=rule, server_rate=3.0, quorum=2, deadline_hours=1.0)
    return begun_by_hand(folder / "f", *sites, aggregation=aggregation, rounds=5, **settings)


def counting(federation: Federation, number: int, counter: int) -> Arrays:
    """Return cedar's delta with another number in all counters."""
    delta = federation.delta("cedar", number)
    return {name: np.full_like(value, counter) if value.dtype == np.int64 else value for name, value in delta.items()}


def longer(federation: Federation, factor: float) -> Arrays:
    """Return cedar's delta of round 1 with its weights multiplied."""
    delta = federation.delta("cedar", 1)
    return {name: value * np.float32(factor) if value.dtype == np.float32 else value for name, value in delta.items()}


def norm_of(model: Arrays) -> float:
    """Return the norm of the weights: this network has no buffers."""
    return float(np.sqrt(sum((value.astype(float) ** 2).sum() for value in model.values() if value.dtype == np.float32)))


def filled(federation: Federation, number: int, value: float) -> Arrays:
    """Return cedar's delta with another number in all weights."""
    delta = federation.delta("cedar", number)
    return {name: np.full_like(array, value) if array.dtype == np.float32 else array for name, array in delta.items()}


def closed(federation: Federation, number: int, **deltas: Arrays) -> dict[str, str]:
    """Let all sites send, some of them these deltas, and close the round after its deadline; return who was rejected, and why."""
    for site in federation.by_hand:
        federation.send(site, number, delta=deltas.get(site))
    federation.clock.pass_hours(2)
    result = federation.aggregate()
    assert (result.status, result.round) == (Status.PUBLISHED, number)
    return {item.site: item.reason for item in federation.record(number).rejected}


@pytest.mark.parametrize("counter", [2**63 - 1, 16, -1])
def test_a_counter_that_the_steps_do_not_allow_is_refused(tmp_path: Path, counter: int) -> None:
    federation = begun(tmp_path, network=COUNTING)
    rejected = closed(federation, 1, cedar=counting(federation, 1, counter))
    assert list(rejected) == ["cedar"]
    assert rejected["cedar"].startswith(f"the update of cedar counts {counter} in tensor ")
    assert rejected["cedar"].endswith("expected 0 to its 15 steps")
    assert closed(federation, 2) == {}
    assert federation.verify().verified


@pytest.mark.parametrize("rule", [Rule.MEAN, Rule.MOMENTUM])
def test_an_overflow_is_its_sites_and_the_round_goes_on(tmp_path: Path, rule: Rule) -> None:
    """Some rounds of the largest numbers of float32 sum up to more than it holds."""
    federation = begun(tmp_path, rule, limits=Limits(norm=0.0))
    for number in range(1, 5):
        if rejected := closed(federation, number, cedar=filled(federation, number, LARGEST)):
            break
    assert list(rejected) == ["cedar"]
    assert "the update of cedar moves tensor " in rejected["cedar"]
    assert "out of its range, from " in rejected["cedar"]
    assert federation.verify().verified


def test_a_counter_without_a_bound_names_its_site_where_it_overflows(tmp_path: Path) -> None:
    federation = begun(tmp_path, network=COUNTING, limits=Limits(buffers=False))
    for number in range(1, 5):
        if rejected := closed(federation, number, cedar=counting(federation, number, 2**63 - 1)):
            break
    assert list(rejected) == ["cedar"]
    assert "the update of cedar moves tensor " in rejected["cedar"]
    assert federation.verify().verified


def test_an_update_that_is_too_long_is_refused_and_recorded(tmp_path: Path) -> None:
    """A million times the model would leave it finite, and end all honest training."""
    federation = begun(tmp_path)
    rejected = closed(federation, 1, cedar=filled(federation, 1, 1e6))
    assert list(rejected) == ["cedar"]
    norm, base = norm_of(filled(federation, 1, 1e6)), norm_of(federation.model(0))
    assert rejected["cedar"].startswith("the norm of its trained weights is 2.4629")
    assert rejected["cedar"].endswith(f"expected at most 100 times the model's, which is {base:.6g} (limits.norm)")
    (item,) = federation.record(1).rejected
    assert item.norm == pytest.approx(norm, rel=1e-5)
    assert item.update is not None
    assert federation.record(1).base_norm == pytest.approx(base, rel=1e-5)
    assert closed(federation, 2) == {}
    assert federation.verify().verified


def test_five_updates_or_more_are_compared_with_one_another(tmp_path: Path) -> None:
    sites = ("ash", "birch", "cedar", "fir", "oak")
    federation = begun(tmp_path, sites=sites)
    long = longer(federation, 150)
    rejected = closed(federation, 1, cedar=long)
    assert list(rejected) == ["cedar"]
    assert rejected["cedar"].endswith("(limits.norm_median)")
    assert federation.verify().verified
    for site in sites[:-2]:
        federation.send(site, 2, delta=long if site == "cedar" else None)
    federation.clock.pass_hours(2)
    assert federation.aggregate().used == sites[:-2]  # with four updates, nobody can tell
    assert federation.verify().verified


def test_who_is_left_out_later_changes_who_is_too_long(tmp_path: Path) -> None:
    """Without one of the five, the limit no longer applies: the refused update is taken back."""
    federation = begun(tmp_path, sites=("ash", "birch", "cedar", "fir", "oak"))
    long = longer(federation, 150)
    for site in ("ash", "birch", "cedar", "fir", "oak"):
        federation.send(site, 1, delta=long if site == "cedar" else None)
    federation.clock.pass_hours(2)
    verdicts = [Verdict(publish=True, rejected=(("oak", "swapped labels"),)), Verdict(publish=True)]
    seen = []

    def reviewer(_: int, shown: tuple[SiteReview, ...]) -> Verdict:
        seen.append([site.site for site in shown])
        return verdicts.pop(0)

    federation.aggregate(reviewer)
    assert seen == [["ash", "birch", "fir", "oak"], ["ash", "birch", "cedar", "fir"]]
    assert [item.site for item in federation.record(1).rejected] == ["oak"]
    assert federation.verify().verified


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit": 1e-9}, "the update of ash was used, but the norm of its trained weights is"),
        ({"rejected": 1.0}, "the update of cedar was refused as too long, but its norm 1 is within the limits"),
        ({"base_norm": 1e9}, "the update of cedar was refused as too long, but its norm"),
        ({"base_norm": None}, "base_norm is stated: expected True, found False"),
    ],
)
def test_a_coordinator_that_bends_the_rule_is_seen_by_everybody(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    federation = begun(tmp_path)
    closed(federation, 1, cedar=filled(federation, 1, 1e6))
    record = federation.record(1)
    if "limit" in change:
        bent = replace(record, base_norm=change["limit"])
    elif "rejected" in change:
        bent = replace(record, rejected=(replace(record.rejected[0], norm=change["rejected"]),))
    else:
        bent = replace(record, **change)
    forge(federation, layout.round_record(1), wire.encode(bent))
    assert any(message in problem.message for problem in federation.verify().problems)


@pytest.mark.parametrize("what", ["trained_norm", "base_norm", "norm"])
def test_replay_measures_the_norms_again(tmp_path: Path, what: str) -> None:
    federation = begun(tmp_path)
    closed(federation, 1, cedar=filled(federation, 1, 1e6))
    record = federation.record(1)
    first, *rest = record.contributions
    bent: dict[str, Any] = {
        "trained_norm": {"contributions": (replace(first, trained_norm=0.5), *rest)},
        "base_norm": {"base_norm": (record.base_norm or 0) * 1.01},
        "norm": {"rejected": (replace(record.rejected[0], norm=2e9),)},
    }[what]
    forge(federation, layout.round_record(1), wire.encode(replace(record, **bent)))
    assert not federation.verify(replay=False).problems
    (problem,) = federation.verify().problems
    assert "replay gives" in problem.message


def test_steps_that_the_plan_makes_impossible_are_refused(tmp_path: Path) -> None:
    """A million claimed steps would have all the weight, and turn the model the other way."""
    federation = begun(tmp_path)
    turned = longer(federation, -1)
    for site in SITES:
        values = {"steps": 1_000_000, "images": 300, "delta": turned} if site == "cedar" else {}
        federation.send(site, 1, **values)
    federation.clock.pass_hours(2)
    assert federation.aggregate().status is Status.PUBLISHED
    (item,) = federation.record(1).rejected
    assert item.site == "cedar"
    assert item.reason.endswith("1000000 steps, expected at most 38: with 300 images the plan takes no more")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"images": 8000, "steps": 1000}, "8000 training images of "),
        ({"patients": 1000}, "training images of 1000 patients, expected those of sites/valley/dataset/0001.json: "),
        ({"dataset": "0" * 64}, "names the data set record 000000000000, which valley has not published"),
    ],
)
def test_counts_unlike_the_data_set_record_are_refused(trained: Federation, claims: dict[str, Any], reason: str) -> None:
    rewrite(trained, layout.update("valley", 1), **claims)
    result = trained.aggregate()
    assert [(item.site, reason in item.reason) for item in result.rejected] == [("valley", True)]


def test_a_coordinator_that_overlooks_such_counts_is_seen_by_everybody(finished: Federation) -> None:
    rewrite(finished, layout.update("valley", 1), images=8000)
    digest = wire.sha256((finished.drop / layout.update("valley", 1)).read_bytes())
    record = finished.record(1)
    used = tuple(replace(item, update=digest, images=8000) if item.site == "valley" else item for item in record.contributions)
    (finished.drop / layout.round_record(2)).unlink()
    forge(finished, layout.round_record(1), wire.encode(replace(record, contributions=used)))
    problems = {problem.key: problem.message for problem in finished.verify().problems}
    assert "8000 training images of " in problems[layout.update("valley", 1)]


def test_counts_without_a_data_set_record_are_looked_at(trained: Federation) -> None:
    """Whoever has published facts cannot escape them by naming none."""
    rewrite(trained, layout.update("valley", 1), images=8000, steps=1000, dataset=None)
    result = trained.aggregate()
    assert result.status is Status.PUBLISHED
    (north, valley) = result.review
    assert north.odd == ()
    assert valley.odd[-1].startswith("it names no data set record, and claims 8000 training images of ")


def test_steps_that_the_plan_takes_no_fewer_of_are_looked_at(tmp_path: Path) -> None:
    federation = begun(tmp_path)
    for site in SITES:
        federation.send(site, 1, **({"images": 300} if site == "cedar" else {}))
    odd = {site.site: site.odd for site in federation.aggregate().review}
    assert odd == {"ash": (), "birch": (), "cedar": ("it claims 15 steps, where the plan takes 38 with 300 images",)}

"""Updates that are signed and well formed, and meant to do harm: each is refused with its site's name, and the others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli.plan import Aggregation, Limits, Network, Rule
from fedcli.results import Status
from tests.fixtures.federation import begun_by_hand

if TYPE_CHECKING:
    from pathlib import Path

    from tests.aggregation.models import Arrays
    from tests.fixtures.federation import Federation

SITES = ("ash", "birch", "cedar")
LARGEST = float(np.finfo(np.float32).max)
COUNTING = Network(name="shufflenet_v2_x0_5")


def begun(folder: Path, rule: Rule = Rule.MEAN, **settings: Any) -> Federation:
    """Begin a federation that goes on with two of three sites."""
    aggregation = Aggregation(rule=rule, server_rate=3.0, quorum=2, deadline_hours=1.0)
    return begun_by_hand(folder / "f", *SITES, aggregation=aggregation, rounds=5, **settings)


def counting(federation: Federation, number: int, counter: int) -> Arrays:
    """Return cedar's delta with another number in all counters."""
    delta = federation.delta("cedar", number)
    return {name: np.full_like(value, counter) if value.dtype == np.int64 else value for name, value in delta.items()}


def filled(federation: Federation, number: int, value: float) -> Arrays:
    """Return cedar's delta with another number in all weights."""
    delta = federation.delta("cedar", number)
    return {name: np.full_like(array, value) if array.dtype == np.float32 else array for name, array in delta.items()}


def closed(federation: Federation, number: int, **deltas: Arrays) -> dict[str, str]:
    """Let all sites send, some of them these deltas, and close the round after its deadline; return who was rejected, and why."""
    for site in SITES:
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
    federation = begun(tmp_path, rule)
    for number in range(1, 5):
        if rejected := closed(federation, number, cedar=filled(federation, number, LARGEST)):
            break
    assert list(rejected) == ["cedar"]
    assert "the update of cedar moves tensor " in rejected["cedar"]
    assert "out of its range, from " in rejected["cedar"]
    assert federation.verify().verified


def test_a_counter_without_a_bound_names_its_site_where_it_overflows(tmp_path: Path) -> None:
    federation = begun(tmp_path, network=COUNTING, limits=Limits(counters=False))
    for number in range(1, 5):
        if rejected := closed(federation, number, cedar=counting(federation, number, 2**63 - 1)):
            break
    assert list(rejected) == ["cedar"]
    assert "the update of cedar moves tensor " in rejected["cedar"]
    assert federation.verify().verified

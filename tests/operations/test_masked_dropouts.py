"""Masked rounds of 3 to 10 sites: as many as are tolerated are lost at each step, and one more. No site trains."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli.exchange import layout
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import aggregate
from fedcli.privacy.masking.shamir import tolerated_losses
from fedcli.results import Status
from tests.fixtures.federation import Federation
from tests.fixtures.masked import MASKED, approve_members, opened_model, replayed, send_masked, small_delta
from tests.fixtures.records import steps_of

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.operations.aggregate.aggregate_result import AggregateResult

STEPS = ("masks", "update", "unmask")
NAMES = tuple(f"site-{letter}" for letter in "abcdefghij")
SIZES = [pytest.param(size, marks=() if size == 4 else pytest.mark.slow) for size in range(3, 11)]


def begun(root: Path, size: int) -> Federation:
    federation = Federation(
        root=root, prepared=dict.fromkeys(NAMES[:size], root / "none"), plan=replace(MASKED, rounds=3)
    ).begin()
    approve_members(federation)
    return federation


def go(federation: Federation, number: int, step: str, lost: int) -> AggregateResult:
    """Go through a round in which the last sites are lost at a step, and a person leaves them out where that helps."""
    sites = list(federation.prepared)
    present = sites[: len(sites) - lost]
    without = {} if step == "unmask" else dict.fromkeys(sites[len(present) :], "its line is down")
    opening = federation.drop / layout.opening(number)
    if not opening.exists():  # else it came with the round before
        for name in present if step == "masks" else sites:
            federation.train(name)
        federation.aggregate(**(without if step == "masks" else {}))
    if not opening.exists():
        return federation.aggregate(**without)
    model = opened_model(federation, number - 1)
    for name in sites if step == "unmask" else present:
        send_masked(federation, name, number, small_delta(model, name, number))
    federation.aggregate(**(without if step != "unmask" else {}))
    for name in present:
        federation.train(name)
    return federation.aggregate(**without)


def check_sum(federation: Federation, number: int) -> None:
    """The global model is the weighted mean of the deltas of those that the record names."""
    before, after = opened_model(federation, number - 1), opened_model(federation, number)
    sites = [item.site for item in federation.record(number).contributions]
    weights = np.array([steps_of(site) for site in sites], np.float64)
    deltas = [small_delta(before, site, number) for site in sites]
    for name, value in before.items():
        mean = sum(weight * delta[name].astype(np.float64) for weight, delta in zip(weights, deltas, strict=True)) / weights.sum()
        np.testing.assert_allclose(after[name], value + mean, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_tolerated_losses_and_one_more_at_each_step(tmp_path: Path, size: int) -> None:
    start = begun(tmp_path / "f", size)
    for step in STEPS:
        federation, lost = start.copy(tmp_path / step), tolerated_losses(size)
        assert go(federation, 1, step, lost).status is Status.PUBLISHED, step
        assert len(federation.record(1).contributions) == size - (lost if step != "unmask" else 0)
        check_sum(federation, 1)
        assert go(federation, 2, step, lost + 1).status is Status.WAITING, step
        if (federation.drop / layout.opening(2)).exists():
            aggregate(AggregateRequest(root=federation.coordinator, void="too few are left"), federation.environment)
            assert go(federation, 3, step, 0).status is Status.PUBLISHED, step
            check_sum(federation, 3)
        assert replayed(federation, "coordinator") >= 1

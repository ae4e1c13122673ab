"""Looking again and again: what has changed is told, and what fails in between passes."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import StoreError
from fedcli.operations.status.watch import watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.operations.status.watch import Look
    from tests.fixtures.federation import Federation


def looks(federation: Federation, *steps: Callable[[], object]) -> list[Look]:
    """Look once, and once more after each step; 30 s pass in between."""
    pending = iter(steps)

    def sleep(seconds: float) -> None:
        federation.clock.pass_hours(seconds / 3600)
        next(pending)()

    found = watch(
        federation.status,
        clock=federation.clock,
        sleep=sleep,
        seconds=30,
    )
    return list(islice(found, len(steps) + 1))


def nothing() -> None:
    """Let time pass."""


def test_it_tells_what_has_changed(begun: Federation) -> None:
    found = looks(begun, nothing, lambda: begun.train("north"), nothing)
    assert [item.changed for item in found] == [True, False, True, False]
    assert [item.result.awaited for item in found] == [("north", "valley")] * 2 + [("valley",)] * 2
    assert [(item.moment - found[0].moment).total_seconds() for item in found] == [0, 30, 60, 90]


def test_a_store_error_in_between_passes(begun: Federation) -> None:
    away = begun.root / "unmounted"
    found = looks(begun, lambda: begun.drop.rename(away), nothing, lambda: away.rename(begun.drop))
    assert [item.changed for item in found] == [True, True, False, True]
    assert [isinstance(item.error, StoreError) for item in found] == [False, True, True, False]
    assert {item.result for item in found} == {found[0].result}


def test_a_first_look_that_fails_is_an_error(begun: Federation, tmp_path: Path) -> None:
    begun.drop.rename(tmp_path / "unmounted")
    with pytest.raises(StoreError, match="not there"):
        looks(begun)

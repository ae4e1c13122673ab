"""The coordinator's record of an archive, and the removal of artifacts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fedcli import wire
from fedcli.errors import StoreError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.records import Role, archivable
from fedcli.exchange.store import LocalStore
from tests.fixtures.signing import amendment, changed, keys_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.history import HandmadeHistory


def test_the_coordinator_says_what_was_moved(history: HandmadeHistory) -> None:
    verified = history.ledger().archive(1, history.archive())
    assert (verified.record.before, verified.record.tar) == (1, "a" * 64)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"before": 2}, "archived before round 2, though the newest was 1"),
        ({"before": 0}, "before: should be greater than or equal to 1"),
        ({"as_of": 2, "before": 2}, "as of round 2, expected at most 1"),
        ({"number": 2}, "number: expected 1, found 2"),
        ({"tar": "none"}, "tar: should match"),
        ({"party": "north"}, "party: expected coordinator, found north"),
        ({"federation": "b" * 64}, "federation: expected"),
        ({"schema": "fedcli/round@1"}, "schema: should be"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(history: HandmadeHistory, values: dict[str, Any], said: str) -> None:
    with pytest.raises(TrustError, match=said):
        history.ledger().archive(1, changed(history.archive(), "coordinator", **values))


@pytest.mark.parametrize("signer", ["north", "stranger"])
def test_nobody_else_can_say_it(history: HandmadeHistory, signer: str) -> None:
    with pytest.raises(TrustError, match="signed by the key"):
        history.ledger().archive(1, changed(history.archive(), signer))


def test_a_retired_key_of_the_coordinators_says_nothing_of_later_rounds(history: HandmadeHistory) -> None:
    ledger = history.ledger(rounds=1)
    ledger.add_federation(amendment(history.federation, 1, coordinator=wire.plain(keys_of("heir"))))
    newer = replace(history.rounds[1])
    ledger.add_round(changed(newer, "heir", federation_record=ledger.federations[1].digest))
    with pytest.raises(TrustError, match="signed by the key"):
        ledger.archive(1, history.archive())
    assert ledger.archive(1, changed(history.archive(), "heir")).record.as_of == 1


def test_what_the_first_round_that_stays_begins_from_is_not_archived() -> None:
    assert [number for number in range(9) if archivable(number, Role.UPDATE, 5)] == [0, 1, 2, 3, 4]  # there is no update 0
    assert [number for number in range(9) if archivable(number, Role.MODEL, 5)] == [1, 2, 3]
    assert [number for number in range(9) if archivable(number, Role.SERVER_STATE, 5)] == [1, 2, 3]
    assert not any(archivable(number, Role.MODEL, before) for before in (1, 2) for number in range(9))


def test_local_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "drop")
    key = layout.artifact(layout.update("north", 1), "a" * 64)
    (tmp_path / "drop" / key).mkdir(parents=True)
    with pytest.raises(StoreError, match=key):
        store.remove_artifact(key)
    assert (tmp_path / "drop" / key).is_dir()

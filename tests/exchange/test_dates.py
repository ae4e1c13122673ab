"""Dates in records: impossible ones are refused, odd ones are named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.errors import TrustError
from fedcli.exchange.checks import Verified
from fedcli.exchange.dates import LARGEST_SKEW, expected_end, odd_dates
from tests.fixtures.history import complete_history
from tests.fixtures.signing import sign

if TYPE_CHECKING:
    from fedcli.exchange.history import History

HISTORY = complete_history().history
NOW = datetime(2026, 12, 1, tzinfo=UTC)


def dated(number: int, created: datetime) -> History:
    """Return the history with another date in one round's record."""
    rounds = list(HISTORY.rounds)
    verified = rounds[number]
    rounds[number] = Verified(key=verified.key, digest=verified.digest, record=replace(verified.record, created=created))
    return replace(HISTORY, rounds=tuple(rounds))


@pytest.mark.parametrize("year", ["9999", "2201", "1969"])
def test_a_date_to_which_no_deadline_can_be_added_is_refused(year: str) -> None:
    build = complete_history()
    signed = build.updates["north", 1]
    data = signed.data.replace(b'"created": "2026', f'"created": "{year}'.encode())
    with pytest.raises(TrustError, match="created: should be between the years 1970 and 2200"):
        build.ledger(1).update("north", 1, sign(signed.key, data, "north"))


def test_ordinary_dates_are_not_worth_a_word() -> None:
    assert odd_dates(HISTORY, NOW) == ()
    assert odd_dates(dated(1, HISTORY.rounds[0].record.created - LARGEST_SKEW), NOW) == ()
    newest = HISTORY.evaluations["north"].record.created
    assert odd_dates(HISTORY, newest - LARGEST_SKEW) == ()
    assert len(odd_dates(HISTORY, newest - LARGEST_SKEW - timedelta(seconds=1))) == 1


def test_a_round_that_is_dated_before_its_parent_is_named() -> None:
    (sentence,) = odd_dates(dated(1, HISTORY.rounds[0].record.created - timedelta(hours=3)), NOW)
    assert sentence == "round 1 is dated 3 h before the round before it: the coordinator's clock was wrong in one of them"


def test_a_record_that_is_dated_after_now_is_named_once_for_its_party() -> None:
    ahead = dated(1, NOW + timedelta(days=400))
    assert odd_dates(ahead, NOW) == ("the newest record of coordinator is dated 400 days after now, by this machine's clock",)


def test_a_decoded_date_keeps_its_offset() -> None:
    record = HISTORY.rounds[0].record
    assert wire.decode(type(record), wire.encode(record)).created == record.created


def test_the_end_follows_from_the_pace_of_the_newest_rounds() -> None:
    first = datetime(2026, 12, 1, tzinfo=UTC)
    record = HISTORY.rounds[0].record
    days = [0, 30, 31, 32, 42, 43, 44]  # round 0 waited for the sites to join, and one round for a holiday
    rounds = [
        Verified(key="", digest="", record=replace(record, round=number, created=first + timedelta(days=day)))
        for number, day in enumerate(days)
    ]
    now = first + timedelta(days=44, hours=1)
    assert expected_end(rounds, 10, now) == first + timedelta(days=48)
    assert expected_end(rounds, 10, now + timedelta(days=5)) == now + timedelta(days=5 + 3)  # the open round is late
    assert expected_end(rounds, 6, now) is None
    assert expected_end(rounds[:2], 10, now) is None


def test_dates_that_are_decades_apart_foretell_no_end() -> None:
    record, clock = HISTORY.rounds[0].record, datetime(1970, 1, 2, tzinfo=UTC)
    rounds = [
        Verified(key="", digest="", record=replace(record, round=number, created=created))
        for number, created in enumerate([clock, clock, NOW])
    ]
    assert expected_end(rounds, 300, NOW) is None

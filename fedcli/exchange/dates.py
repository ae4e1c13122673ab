"""What the dates in records tell: what is odd about them, and when a federation will end at its present pace.

A date is its signer's word, so nothing is refused for it.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import chain, pairwise
from statistics import median
from typing import TYPE_CHECKING

from fedcli.text.wording import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import RoundRecord

LARGEST_SKEW = timedelta(minutes=5)
"""Clocks may differ by as much."""
_PACE = 10
"""The newest rounds, whose median duration is the present pace."""


def odd_dates(history: History, now: datetime) -> tuple[str, ...]:
    """Return a sentence for each round that is dated before its parent, and for each party with a record that is dated after now.

    Args:
        history: The verified records.
        now: By this machine's clock.
    """
    return (*_before_parents(history), *_after(history, now))


def expected_end(rounds: Sequence[Verified[RoundRecord]], last: int, now: datetime) -> datetime | None:
    """Return when the last round will be closed at the pace of the newest ones.

    It is None before round 2, after the last round, and where dates that are decades apart lead beyond the year 9999.

    Args:
        rounds: The round records.
        last: The number of the last round.
        now: By this machine's clock; the open round is closed now at the earliest.
    """
    left = last - len(rounds) + 1
    made = [verified.record.created for verified in rounds[max(1, len(rounds) - _PACE - 1) :]]
    if left <= 0 or len(made) < 2:  # noqa: PLR2004 - a duration has two ends
        return None
    pace = median((after - before).total_seconds() for before, after in pairwise(made))
    try:
        return max(made[-1] + timedelta(seconds=pace), now) + timedelta(seconds=pace * (left - 1))
    except OverflowError:
        return None


def _before_parents(history: History) -> Iterator[str]:
    for parent, verified in pairwise(history.rounds):
        early = parent.record.created - verified.record.created
        if early > LARGEST_SKEW:
            yield (
                f"round {verified.record.round} is dated {duration(early.total_seconds())} before the round before it: "
                "the coordinator's clock was wrong in one of them"
            )


def _after(history: History, now: datetime) -> Iterator[str]:
    newest: dict[str, datetime] = {}
    of_sites = (history.updates, history.enrolments, history.datasets, history.models, history.evaluations)
    for verified in chain(history.federations, history.rounds, *(records.values() for records in of_sites)):
        record = verified.record
        newest[record.party] = max(record.created, newest.get(record.party, record.created))
    for party, created in sorted(newest.items()):
        if (ahead := created - now) > LARGEST_SKEW:
            yield f"the newest record of {party} is dated {duration(ahead.total_seconds())} after now, by this machine's clock"

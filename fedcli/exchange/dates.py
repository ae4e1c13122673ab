"""What is odd about the dates in records. A date is its signer's word, so nothing is refused for it; people should know it."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from fedcli.text.wording import duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from fedcli.exchange.history import History

LARGEST_SKEW = timedelta(minutes=5)
"""Clocks may differ by as much."""


def odd_dates(history: History, now: datetime) -> tuple[str, ...]:
    """Return a sentence for each round that is dated before its parent, and for each party with a record that is dated after now.

    Args:
        history: The verified records.
        now: By this machine's clock.
    """
    return (*_before_parents(history), *_after(history, now))


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

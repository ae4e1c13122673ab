"""The sums of a region in a whole history: read with it, compared with the round records that name them, and computed again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fedcli.errors import MissingError, TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.tree.sum_ledger import verify_sum
from fedcli.party.tree.regional_sum import mean_of
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedcli.aggregation.update import Update
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import RoundRecord, SumRecord
    from fedcli.party.history.records_read import Reading
    from fedcli.plan import Aggregation
    from fedcli.tensors import Layout


def read_sums(reading: Reading, history: History) -> None:
    """Read what a region has summed.

    A sum that does not verify, and that no round record names, is passed over: an amendment by the recovery key may have come
    after it.
    """
    ledger = reading.folder.ledger
    if not history.federations or not history.federations[0].record.plan.tree.above:
        return
    for number in layout.numbers(reading.listed.get(layout.COORDINATOR, ()), "coordinator/round-{}/sum.json"):
        if not 1 <= number <= len(history.rounds) or (reading.newest and number < len(history.rounds) - 1):
            continue
        relayed = history.rounds[number].record.relayed if number < len(history.rounds) else None
        key, verify = layout.sum_record(number), partial(verify_sum, ledger, number)
        if number < len(history.rounds) and (relayed is None or relayed.sum is None):
            try:
                verify(reading.folder.read(key))
            except (TrustError, MissingError, UnreadableError):
                continue
        for verified in reading.attempt(key, verify):
            history.sums[number] = verified


def check_sums(reading: Reading, history: History) -> None:
    """Note every round of a region whose record differs from the sum that it names."""
    for verified in history.rounds:
        try:
            named_sum(history, verified)
        except TrustError as error:
            reading.note(verified.key, f"{verified.key}: {error}")


def named_sum(history: History, closed: Verified[RoundRecord]) -> Verified[SumRecord] | None:
    """Return the sum that a round of a region names; None if it names none.

    Raises:
        TrustError: It is missing, does not verify, is another one, or says something else than the round.
    """
    record = closed.record
    if record.relayed is None or record.relayed.sum is None:
        return None
    summed = history.sums.get(record.round)
    if summed is None or summed.digest != record.relayed.sum:
        key = layout.sum_record(record.round)
        msg = f"{key}: missing, or not the sum {record.relayed.sum[:SHORT_DIGEST]} that the round names"
        raise TrustError(msg)
    for what in ("contributions", "absent", "excused", "rejected", "base_norm"):
        if getattr(record, what) != getattr(summed.record, what):
            msg = f"{what} differ from those of {summed.key}"
            raise TrustError(msg)
    return summed


def replay_sum(
    summed: Verified[SumRecord], settings: Aggregation, expected: Layout, updates: Sequence[Update], scratch: Path
) -> None:
    """Compute the mean of a region's round again.

    Raises:
        TrustError: It is another one than its record says.
    """
    mean = mean_of(settings, expected, updates, scratch, None)
    if (stated := summed.record.content_sha256) != mean.sha256:
        msg = f"{summed.key}: replay gives the mean {mean.sha256[:SHORT_DIGEST]}, expected {stated[:SHORT_DIGEST]}"
        raise TrustError(msg)

"""Which rounds led to a global model: all before it, except those that a restart went back beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import RoundRecord


def base_of(record: RoundRecord) -> int:
    """Return the round from whose model a round continues, or whose model it has again; -1 for round 0."""
    return record.round - 1 if record.restart is None else record.restart.round


def lineage(rounds: Sequence[Verified[RoundRecord]], number: int) -> tuple[int, ...]:
    """Return the rounds that led to the model of a round, ascending; the round itself is the last."""
    numbers: list[int] = []
    while number >= 0:
        numbers.append(number)
        number = base_of(rounds[number].record)
    return tuple(reversed(numbers))


def rounds_with(rounds: Sequence[Verified[RoundRecord]], site: str) -> tuple[int, ...]:
    """Return the rounds whose model contains an update of a site, ascending."""
    containing: set[int] = set()
    for verified in rounds:
        record = verified.record
        used = any(item.site == site and item.weight for item in record.contributions)
        if used or base_of(record) in containing:
            containing.add(record.round)
    return tuple(sorted(containing))


def leads(rounds: Sequence[Verified[RoundRecord]], digest: str) -> bool:
    """Tell whether the round record of this digest led to the newest model: no restart has given it up."""
    return digest in {rounds[number].digest for number in lineage(rounds, len(rounds) - 1)}

"""The rounds of a federation in their order, and which of them led to a global model.

All rounds before a model led to it, except those that a restart went back beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, overload

from pydantic import dataclasses as pydantic_dataclasses

from fedcli.wire import STRICT, Digest, SiteName

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import FederationRecord, RoundRecord


@pydantic_dataclasses.dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PastRounds:
    """What the rounds after them need of the rounds so far, without their records.

    Attributes:
        digests: SHA-256 of each round record, from round 0 on.
        restarts: Each restart, and the earlier round whose model it has again.
        outstanding: Round and site of each update that was missing when its round was closed and has not arrived since.
    """

    digests: tuple[Digest, ...] = ()
    restarts: tuple[tuple[int, int], ...] = ()
    outstanding: tuple[tuple[int, SiteName], ...] = ()


class Rounds(Sequence["Verified[RoundRecord]"]):
    """Round records, from round 0 on; those that a party remembers are read when they are asked for.

    Args:
        past: The rounds that are remembered.
        read: Returns the record of a number and a digest from memory.
    """

    def __init__(self, past: PastRounds | None = None, read: Callable[[int, str], Verified[RoundRecord]] | None = None) -> None:
        past = past or PastRounds()
        self._digests = list(past.digests)
        self._restarts = dict(past.restarts)
        self._outstanding = set(past.outstanding)
        self._records: dict[int, Verified[RoundRecord]] = {}
        self._read = read

    @property
    def past(self) -> PastRounds:
        """All rounds so far, without their records."""
        return PastRounds(
            digests=tuple(self._digests),
            restarts=tuple(sorted(self._restarts.items())),
            outstanding=tuple(sorted(self._outstanding)),
        )

    @property
    def digests(self) -> Sequence[str]:
        """SHA-256 of each round record."""
        return self._digests

    @property
    def outstanding(self) -> tuple[tuple[int, str], ...]:
        """Round and site of each update that was missing when its round was closed and has not arrived since, ascending."""
        return tuple(sorted(self._outstanding))

    def append(self, verified: Verified[RoundRecord]) -> None:
        """Take the next round record."""
        record, number = verified.record, len(self._digests)
        self._records[number] = verified
        self._digests.append(verified.digest)
        if record.restart is not None:
            self._restarts[number] = record.restart.round
        arrived = {item.site for item in record.rejected if item.update is not None}
        self._outstanding |= {(number, site) for site in record.without if site not in arrived}
        self._outstanding -= {(item.round, item.site) for item in record.late}

    def __len__(self) -> int:
        """Return the number of rounds."""
        return len(self._digests)

    @overload
    def __getitem__(self, index: int) -> Verified[RoundRecord]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Verified[RoundRecord]]: ...
    def __getitem__(self, index: int | slice) -> Verified[RoundRecord] | Sequence[Verified[RoundRecord]]:
        """Return a round, or several.

        Raises:
            TrustError: A remembered record is not what it was.
        """
        if isinstance(index, slice):
            return tuple(self[number] for number in range(len(self))[index])
        number = range(len(self))[index]
        if number not in self._records and self._read is not None:
            self._records[number] = self._read(number, self._digests[number])
        return self._records[number]

    def lineage(self, number: int) -> tuple[int, ...]:
        """Return what the function of this name does, without reading a record."""
        return _lineage(number, lambda later: self._restarts.get(later, later - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyEnd:
    """A federation that the coordinator has ended before its last round.

    Attributes:
        round: The last round.
        planned: The last round of the plan before.
        reason: Why.
    """

    round: int
    planned: int
    reason: str

    def __str__(self) -> str:
        """Return it as a sentence."""
        return f"The coordinator has ended the federation after round {self.round} of {self.planned}: {self.reason}"


def early_end(federations: Sequence[Verified[FederationRecord]]) -> EarlyEnd | None:
    """Return how the coordinator has ended a federation early; None if it has not, or has extended it again."""
    end = None
    for before, after in pairwise(item.record for item in federations):
        if after.plan.rounds > before.plan.rounds:
            end = None
        elif after.plan.rounds < before.plan.rounds and after.reason is not None:
            end = EarlyEnd(round=after.plan.rounds, planned=before.plan.rounds, reason=after.reason)
    return end


def base_of(record: RoundRecord) -> int:
    """Return the round from whose model a round continues, or whose model it has again; -1 for round 0."""
    return record.round - 1 if record.restart is None else record.restart.round


def lineage(rounds: Sequence[Verified[RoundRecord]], number: int) -> tuple[int, ...]:
    """Return the rounds that led to the model of a round, ascending; the round itself is the last."""
    return _lineage(number, lambda later: base_of(rounds[later].record))


def _lineage(number: int, base: Callable[[int], int]) -> tuple[int, ...]:
    numbers: list[int] = []
    while number >= 0:
        numbers.append(number)
        number = base(number)
    return tuple(reversed(numbers))


def untrained(rounds: Sequence[Verified[RoundRecord]], number: int) -> bool:
    """Tell whether a round's global model is φ(0), which is so for round 0 and for a restart from it."""
    return rounds[number].artifact.content_sha256 == rounds[0].artifact.content_sha256


def rounds_with(rounds: Sequence[Verified[RoundRecord]], site: str) -> tuple[int, ...]:
    """Return the rounds whose model contains an update of a site, ascending."""
    containing: set[int] = set()
    for verified in rounds:
        record = verified.record
        used = any(item.site == site and item.weight for item in record.contributions)
        if used or base_of(record) in containing:
            containing.add(record.round)
    return tuple(sorted(containing))


def leads(rounds: Rounds, digest: str) -> bool:
    """Tell whether the round record of this digest led to the newest model: no restart has given it up."""
    return digest in {rounds.digests[number] for number in rounds.lineage(len(rounds) - 1)}

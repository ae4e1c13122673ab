"""The records of a drop folder while it is read, and a problem for each that does not verify."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from fedcli.errors import LaterRoundError, MissingError, TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.consumption import Consumption
from fedcli.exchange.history import Problem
from fedcli.exchange.records import (
    ArchiveRecord,
    ClosingRecord,
    EvaluationRecord,
    OpeningRecord,
    Record,
    RoundRecord,
    SumRecord,
    UnmaskRecord,
    UpdateRecord,
    archivable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from fedcli.exchange.checks import Signed, Verified
    from fedcli.party.folder import Folder

R = TypeVar("R", bound=Record)

_OF_ROUNDS = RoundRecord | UpdateRecord | OpeningRecord | ClosingRecord | UnmaskRecord | SumRecord


@dataclass(slots=True)
class Reading:
    """The records of a drop folder while it is read.

    Attributes:
        folder: The drop folder.
        listed: Keys of files, of the coordinator, of everyone who has ever been a member, and of applicants where asked for.
        incomplete: Parties of which some files could not be listed, or are more than are listed.
        applicants: Sites with files that are not members and never were.
        problems: What has not verified so far.
        records: Every verified record, the older ones of a site too.
        archive: The coordinator's newest record of an archive.
        consumption: What each party has made this reader read and say.
        newest: Whether of the updates only those of the newest round and of the open one are read.
        remembering: Whether updates of closed rounds that were verified before are taken from memory.
        unopened: Keys of artifacts that are sealed to others: their stored bytes hold, and what is inside was not seen.
    """

    folder: Folder
    newest: bool = False
    remembering: bool = False
    listed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    incomplete: set[str] = field(default_factory=set)
    applicants: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    records: list[Verified[Record]] = field(default_factory=list)
    archive: Verified[ArchiveRecord] | None = None
    consumption: Consumption = field(default_factory=Consumption)
    unopened: set[str] = field(default_factory=set)

    @property
    def keys(self) -> frozenset[str]:
        """Keys of all files."""
        return frozenset(key for keys in self.listed.values() for key in keys)

    @property
    def archived(self) -> frozenset[str]:
        """Keys of the artifacts that are missing because the coordinator has signed that they were moved out."""
        if self.archive is None:
            return frozenset()
        before = self.archive.record.before
        named = {
            artifact.key
            for verified in self.records
            if (number := round_of(verified.record)) is not None
            for artifact in verified.artifacts
            if archivable(number, artifact.role, before)
        }
        return frozenset(named.difference(self.keys))

    def attempt(self, key: str, verify: Callable[[Signed], Verified[R]]) -> Iterator[Verified[R]]:
        """Yield a record if it verifies; otherwise note why it does not.

        A record that names a round that was published after the ledger was brought up to date is left for the next reading.
        """
        most = self.folder.ledger.bounds.party_bytes
        if self.consumption.exhausted(key, most):
            self.reject(key, f"{key}: not read, after more than {most} bytes of records of {layout.owner(key)}")
            return
        try:
            signed = self.folder.read(key)
            self.consumption.read(key, len(signed.data))
            verified = verify(signed)
        except (TrustError, MissingError, UnreadableError) as error:
            published = (
                isinstance(error, LaterRoundError) and self.folder.store.stat(layout.round_record(error.number)) is not None
            )
            if not published:
                self.reject(key, str(error))
            return
        self.records.append(_without_scores(verified))
        yield verified

    def series(self, party: str, pattern: str, named: Collection[int] = ()) -> Iterator[tuple[int, str]]:
        """Yield the numbers and keys of the newest records of a series, and the named ones, ascending; others are rejected."""
        most = self.folder.ledger.bounds.series
        pattern = f"{layout.prefix(party)}{pattern}"
        numbers = layout.numbers(self.listed[party], pattern)
        for position, number in enumerate(numbers, most - len(numbers)):
            key = pattern.format(f"{number:04d}")
            if position >= 0 or number in named:
                yield number, key
            else:
                self.reject(key, f"{key}: not read, since only the newest {most} records of a series are")

    def reject(self, key: str, message: str) -> None:
        """Note what is wrong with a record; of the many of one party only the first are noted, and the others counted."""
        if self.consumption.reject(key):
            self.note(key, message)

    def note(self, key: str, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(key=key, message=message))


def round_of(record: Record) -> int | None:
    """Return the round to which a record and its artifacts belong; None if it belongs to no round."""
    return record.round if isinstance(record, _OF_ROUNDS) else None


def _without_scores(verified: Verified[Record]) -> Verified[Record]:
    """Return a record as it is kept beside the newest ones: of evaluations only what names them."""
    if not isinstance(verified.record, EvaluationRecord):
        return verified
    return replace(verified, record=replace(verified.record, scores=(), comparisons=()))

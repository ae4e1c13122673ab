"""Read a drop folder into a `History`: the records that verify, and a problem for each one that does not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from fedcli.errors import LaterRoundError, MissingError, TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.bounds import MAX_APPLICANT_FILES, MAX_APPLICANTS, MAX_PARTY_BYTES
from fedcli.exchange.consumption import Consumption
from fedcli.exchange.history import History, Problem
from fedcli.exchange.records import (
    SHARED_KINDS,
    ArchiveRecord,
    DatasetRecord,
    EvaluationRecord,
    ModelKind,
    ModelRecord,
    Record,
    RoundRecord,
    UpdateRecord,
    archivable,
)
from fedcli.party.chain_check import check_used_updates
from fedcli.party.enrolment import read_enrolments

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from fedcli.exchange.checks import Signed, Verified
    from fedcli.exchange.ledger import Ledger
    from fedcli.party.folder import Folder

R = TypeVar("R", bound=Record)
K = TypeVar("K")
S = TypeVar("S", ArchiveRecord, DatasetRecord, ModelRecord, EvaluationRecord)

_MOST_BEYOND = 3
"""Of so many rounds after the newest one, updates are read: they name the round records that are missing."""


@dataclass(slots=True)
class Reading:
    """The records of a drop folder while it is read.

    Attributes:
        folder: The drop folder.
        listed: Keys of files, of the coordinator, of everyone who has ever been a member, and of applicants where asked for.
        applicants: Sites with files that are not members and never were.
        problems: What has not verified so far.
        records: Every verified record, the older ones of a site too.
        archive: The coordinator's newest record of an archive.
        consumption: What each party has made this reader read and say.
    """

    folder: Folder
    listed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    applicants: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    records: list[Verified[Record]] = field(default_factory=list)
    archive: Verified[ArchiveRecord] | None = None
    consumption: Consumption = field(default_factory=Consumption)

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
        if self.consumption.exhausted(key):
            self.reject(key, f"{key}: not read, after more than {MAX_PARTY_BYTES} bytes of records of {layout.owner(key)}")
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
    return record.round if isinstance(record, RoundRecord | UpdateRecord) else None


def read_history(folder: Folder, *, applicants: bool = False) -> tuple[History, Reading]:
    """Read what the coordinator and the sites have written.

    A coordinator's record that does not verify ends the reading of what depends on it; a site's is a problem of its own.

    Args:
        folder: The drop folder.
        applicants: Whether to look also for sites that are not members.

    Raises:
        StoreError: The drop folder cannot be read.
    """
    reading = Reading(folder=folder)
    _list(reading, applicants=applicants)
    ledger = folder.ledger
    reading.records.extend([*ledger.federations, *ledger.rounds])
    archives: dict[str, Verified[ArchiveRecord]] = {}
    _read_series(reading, layout.COORDINATOR, "archive-{}.json", ledger.archive, archives, layout.COORDINATOR)
    reading.archive = archives.get(layout.COORDINATOR)
    history = History(federations=tuple(ledger.federations), rounds=tuple(ledger.rounds))
    for site in reading.applicants:
        _read_enrolments(reading, site, history)
    for site in sorted(ledger.bounds.sites or ()):
        _read_site(reading, site, history)
    reading.problems.extend(reading.consumption.unsaid())
    check_used_updates(reading, history.updates)
    return replace(history, problems=tuple(reading.problems)), reading


def _read_site(reading: Reading, site: str, into: History) -> None:
    """Read the records of a member, past or present."""
    ledger = reading.folder.ledger
    _read_enrolments(reading, site, into)
    _read_updates(reading, site, into.updates)
    named = _named_datasets(ledger, site, into.updates)
    _read_series(reading, site, "dataset/{}.json", partial(ledger.dataset, site), into.datasets, site, named)
    for kind in SHARED_KINDS:
        _read_series(reading, site, f"models/{{}}-{kind}.json", partial(_model, ledger, site, kind), into.models, (site, kind))
    _read_series(reading, site, "evaluation/{}.json", partial(ledger.evaluation, site), into.evaluations, site)


def _list(reading: Reading, *, applicants: bool) -> None:
    """Bring the ledger up to date, and list the files of all parties."""
    folder = reading.folder
    try:
        folder.synchronise()
    except TrustError as error:
        reading.note(layout.COORDINATOR, str(error))
    listings = folder.list_parties(layout.COORDINATOR, *sorted(folder.ledger.bounds.sites or ()))
    if applicants and folder.ledger.federations:
        reading.applicants, more = folder.applicants()
        if more:
            reading.note("sites/", f"sites/: more than {MAX_APPLICANTS} folders that are no members'; the others are ignored")
        listings |= folder.list_parties(*reading.applicants, limit=MAX_APPLICANT_FILES)
    for party, listing in listings.items():
        reading.listed[party] = listing.keys
        if listing.fault:
            reading.note(layout.prefix(party), listing.fault)


def _without_scores(verified: Verified[Record]) -> Verified[Record]:
    """Return a record as it is kept beside the newest ones: of evaluations only what names them."""
    if not isinstance(verified.record, EvaluationRecord):
        return verified
    return replace(verified, record=replace(verified.record, scores=(), comparisons=()))


def _read_enrolments(reading: Reading, site: str, into: History) -> None:
    """Read a site's enrolments: the newest whose key the federation lists, or has listed, and those whose key it never has."""
    series, ledger = read_enrolments(reading.folder, site, reading.listed[site]), reading.folder.ledger
    reading.records.extend(series.verified)
    for problem in series.problems:
        reading.reject(problem.key, problem.message)
    unlisted = tuple(item for item in series.verified if not ledger.has_listed(site, item.record.keys))
    if unlisted:
        into.waiting[site] = unlisted
    for enrolment in series.verified:
        if enrolment not in unlisted or site not in into.enrolments:
            into.enrolments[site] = enrolment


def _read_updates(reading: Reading, site: str, into: dict[tuple[str, int], Verified[UpdateRecord]]) -> None:
    ledger = reading.folder.ledger
    for number in layout.numbers(reading.listed[site], f"{layout.prefix(site)}round-{{}}/update.json"):
        key = layout.update(site, number)
        if number > ledger.newest_round + 1 + _MOST_BEYOND:
            reading.reject(key, f"{key}: for a round that has no verified parent")
            continue
        for update in reading.attempt(key, partial(ledger.update, site, number)):
            into[site, number] = update


def _named_datasets(ledger: Ledger, site: str, updates: dict[tuple[str, int], Verified[UpdateRecord]]) -> frozenset[str]:
    """Return the digests of the data set records that a site's updates name."""
    named = (updates[site, number].record.dataset for number in range(1, ledger.newest_round + 1) if (site, number) in updates)
    return frozenset(digest for digest in named if digest is not None)


def _model(ledger: Ledger, site: str, kind: ModelKind, number: int, signed: Signed) -> Verified[ModelRecord]:
    return ledger.model(site, number, kind, signed)


def _read_series(
    reading: Reading,
    party: str,
    pattern: str,
    verify: Callable[[int, Signed], Verified[S]],
    into: dict[K, Verified[S]],
    place: K,
    named: Collection[str] = (),
) -> None:
    """Read the records of a series, of which the newest counts: first those whose digests are named, however old they are."""
    first = {
        number: tuple(reading.attempt(key, partial(verify, number)))
        for key in layout.signed_as(reading.listed[party], named)
        for number in layout.numbers((key,), f"{layout.prefix(party)}{pattern}")
    }
    for number, key in reading.series(party, pattern, first):
        for verified in first[number] if number in first else reading.attempt(key, partial(verify, number)):
            _take_newer(reading, into, place, verified)


def _take_newer(reading: Reading, into: dict[K, Verified[S]], place: K, verified: Verified[S]) -> None:
    """Replace the record numbered before it, unless the new one claims to be older: a retired key may have made it."""
    before = into.get(place)
    if before is not None and verified.record.as_of < before.record.as_of:
        reading.reject(
            verified.key, f"{verified.key}: as of round {verified.record.as_of}, expected {before.record.as_of} or later"
        )
        return
    into[place] = verified

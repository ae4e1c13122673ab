"""Read a drop folder into a `History`: the records that verify, and a problem for each one that does not."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.bounds import MAX_APPLICANT_FILES, MAX_APPLICANTS
from fedcli.exchange.history import History
from fedcli.exchange.records import (
    SHARED_KINDS,
    ArchiveRecord,
    DatasetRecord,
    EvaluationRecord,
    ModelKind,
    ModelRecord,
    UpdateRecord,
)
from fedcli.exchange.store.listing import is_there
from fedcli.party.enrolment import read_enrolments
from fedcli.party.history.inspection import check_used_updates
from fedcli.party.history.records_read import Reading
from fedcli.party.masking.masking_history import check_masked_rounds, read_masked_rounds
from fedcli.party.tree.regional_history import check_sums, read_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from fedcli.exchange.checks import Signed, Verified
    from fedcli.exchange.ledger import Ledger
    from fedcli.party.folder import Folder

K = TypeVar("K")
S = TypeVar("S", ArchiveRecord, DatasetRecord, ModelRecord, EvaluationRecord)

_MOST_BEYOND = 3
"""Of so many rounds after the newest one, updates are read: they name the round records that are missing."""


def read_history(
    folder: Folder, *, applicants: bool = False, newest: bool = False, remembering: bool = False
) -> tuple[History, Reading]:
    """Read what the coordinator and the sites have written.

    A coordinator's record that does not verify ends the reading of what depends on it; a site's is a problem of its own.

    Args:
        folder: The drop folder.
        applicants: Whether to look also for sites that are not members.
        newest: Whether to read only the updates of the newest round and of the open one: of hundreds of rounds, a hundredth.
        remembering: Whether to take updates of closed rounds that were verified before from memory.

    Raises:
        StoreError: The drop folder cannot be read.
    """
    reading = Reading(folder=folder, newest=newest, remembering=remembering)
    _list(reading, applicants=applicants)
    ledger = folder.ledger
    reading.records.extend([*ledger.federations, *ledger.rounds])
    archives: dict[str, Verified[ArchiveRecord]] = {}
    if ledger.federations:  # else no key is known that could have signed them
        _read_series(reading, layout.COORDINATOR, "archive-{}.json", ledger.archive, archives, layout.COORDINATOR)
        _read_grants(reading, layout.COORDINATOR)
    reading.archive = archives.get(layout.COORDINATOR)
    history = History(federations=tuple(ledger.federations), rounds=tuple(ledger.rounds))
    for site in reading.applicants:
        _read_enrolments(reading, site, history)
    for site in sorted(ledger.bounds.sites or ()):
        _read_site(reading, site, history)
    read_masked_rounds(reading, history)
    read_sums(reading, history)
    reading.problems.extend(reading.consumption.unsaid())
    if not newest:
        check_used_updates(reading, history.updates)
        check_masked_rounds(reading, history)
        check_sums(reading, history)
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
    _read_grants(reading, site)


def _read_grants(reading: Reading, party: str) -> None:
    """Read a party's grants, each of which counts; who may use them finds them by itself."""
    for number, key in reading.series(party, "grants/{}.json"):
        for _ in reading.attempt(key, partial(reading.folder.ledger.grant, party, number)):
            pass


def _list(reading: Reading, *, applicants: bool) -> None:
    """Bring the ledger up to date, and list the files of all parties."""
    folder = reading.folder
    try:
        folder.synchronise()
    except TrustError as error:
        reading.note(layout.COORDINATOR, str(error))
    from_round = max(folder.ledger.newest_round, 0) if reading.newest else 0
    listings = folder.list_parties(layout.COORDINATOR, *sorted(folder.ledger.bounds.sites or ()), from_round=from_round)
    if applicants and folder.ledger.federations:
        reading.applicants, more = folder.applicants()
        if more:
            reading.note("sites/", f"sites/: more than {MAX_APPLICANTS} folders that are no members'; the others are ignored")
        listings |= folder.list_parties(*reading.applicants, limit=MAX_APPLICANT_FILES)
    for party, listing in listings.items():
        reading.listed[party] = listing.keys
        if listing.fault:
            reading.incomplete.add(party)
            reading.note(layout.prefix(party), listing.fault)


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
    ledger, pattern = reading.folder.ledger, f"{layout.prefix(site)}round-{{}}/update.json"
    if site in reading.incomplete:
        named = [item.record.round for item in ledger.rounds if site in item.record.named]
        _find(reading, site, (layout.update(site, number) for number in named))
    known = reading.folder.remembered_updates(site, frozenset(reading.listed[site])) if reading.remembering else {}
    new: list[Verified[UpdateRecord]] = []
    for number in layout.numbers(reading.listed[site], pattern):
        key = layout.update(site, number)
        if number in known:
            into[site, number] = known[number]
            reading.records.append(known[number])
            continue
        if reading.newest and number < ledger.newest_round:
            continue
        if number > ledger.newest_round + 1 + _MOST_BEYOND:
            reading.reject(key, f"{key}: for a round that has no verified parent")
            continue
        for update in reading.attempt(key, partial(ledger.update, site, number)):
            into[site, number] = update
            if number <= ledger.newest_round:
                new.append(update)
            if site in reading.incomplete and number <= ledger.newest_round:
                _find(reading, site, (artifact.key for artifact in update.artifacts))
    if reading.remembering:
        reading.folder.remember_updates(site, new)


def _find(reading: Reading, party: str, keys: Iterable[str]) -> None:
    """Add files that rounds need to those of a party that could not be listed whole; other files of its own may hide them."""
    listed, store = reading.listed[party], reading.folder.store
    there = {key for key in keys if key not in listed and is_there(store, key, if_hidden=False)}
    reading.listed[party] = tuple(sorted((*listed, *there)))


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

"""Read a drop folder into a `History`: the records that verify, and a problem for each one that does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from fedcli.errors import MissingError, TrustError, UnreadableError
from fedcli.exchange import layout
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
from fedcli.party.enrolment import read_enrolments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fedcli.exchange.checks import Signed, Verified
    from fedcli.exchange.records import EnrolmentRecord
    from fedcli.party.folder import Folder

R = TypeVar("R", bound=Record)
K = TypeVar("K")
S = TypeVar("S", ArchiveRecord, DatasetRecord, ModelRecord, EvaluationRecord)


@dataclass(slots=True)
class Reading:
    """The records of a drop folder while it is read.

    Attributes:
        folder: The drop folder.
        keys: Keys of its files.
        problems: What has not verified so far.
        records: Every verified record, the older ones of a site too.
        archive: The coordinator's newest record of an archive.
    """

    folder: Folder
    keys: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    records: list[Verified[Record]] = field(default_factory=list)
    archive: Verified[ArchiveRecord] | None = None

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
        """Yield a record if it verifies; otherwise note why it does not."""
        try:
            verified = verify(self.folder.read(key))
        except (TrustError, MissingError, UnreadableError) as error:
            self.note(key, str(error))
            return
        self.records.append(verified)
        yield verified

    def note(self, key: str, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(key=key, message=message))


def round_of(record: Record) -> int | None:
    """Return the round to which a record and its artifacts belong; None if it belongs to no round."""
    return record.round if isinstance(record, RoundRecord | UpdateRecord) else None


def read_history(folder: Folder) -> tuple[History, Reading]:
    """Read everything in the drop folder.

    A coordinator's record that does not verify ends the reading of what depends on it; a site's is a problem of its own.

    Raises:
        StoreError: The drop folder cannot be read.
    """
    reading = Reading(folder=folder, keys=folder.store.list(""))
    try:
        folder.synchronise()
    except TrustError as error:
        reading.note(layout.COORDINATOR, str(error))
    ledger = folder.ledger
    reading.records.extend([*ledger.federations, *ledger.rounds])
    if ledger.federations:
        _read_archives(reading)
    updates: dict[tuple[str, int], Verified[UpdateRecord]] = {}
    enrolments: dict[str, Verified[EnrolmentRecord]] = {}
    waiting: dict[str, tuple[Verified[EnrolmentRecord], ...]] = {}
    datasets: dict[str, Verified[DatasetRecord]] = {}
    models: dict[tuple[str, ModelKind], Verified[ModelRecord]] = {}
    evaluations: dict[str, Verified[EvaluationRecord]] = {}
    for site in layout.site_names(reading.keys) if ledger.federations else ():
        _read_enrolments(reading, site, enrolments, waiting)
        _read_updates(reading, site, updates)
        _read_datasets(reading, site, datasets)
        _read_models(reading, site, models)
        _read_evaluations(reading, site, evaluations)
    _check_used_updates(reading, updates)
    history = History(
        federations=tuple(ledger.federations),
        rounds=tuple(ledger.rounds),
        updates=updates,
        enrolments=enrolments,
        waiting=waiting,
        datasets=datasets,
        models=models,
        evaluations=evaluations,
        problems=tuple(reading.problems),
    )
    return history, reading


def _read_archives(reading: Reading) -> None:
    newest: dict[str, Verified[ArchiveRecord]] = {}
    for number in layout.numbers(reading.keys, f"{layout.prefix(layout.COORDINATOR)}archive-{{}}.json"):
        for archive in reading.attempt(layout.archive(number), partial(reading.folder.ledger.archive, number)):
            _take_newer(reading, newest, layout.COORDINATOR, archive)
    reading.archive = newest.get(layout.COORDINATOR)


def _read_enrolments(
    reading: Reading,
    site: str,
    enrolments: dict[str, Verified[EnrolmentRecord]],
    waiting: dict[str, tuple[Verified[EnrolmentRecord], ...]],
) -> None:
    """Read a site's enrolments: the newest whose key the federation lists, or has listed, and those whose key it never has."""
    series = read_enrolments(reading.folder, site)
    reading.records.extend(series.verified)
    reading.problems.extend(series.problems)
    ledger = reading.folder.ledger
    unlisted = tuple(item for item in series.verified if not ledger.has_listed(site, item.record.keys))
    if unlisted:
        waiting[site] = unlisted
    for enrolment in series.verified:
        if enrolment not in unlisted or site not in enrolments:
            enrolments[site] = enrolment


def _read_updates(reading: Reading, site: str, into: dict[tuple[str, int], Verified[UpdateRecord]]) -> None:
    ledger = reading.folder.ledger
    for number in layout.numbers(reading.keys, f"{layout.prefix(site)}round-{{}}/update.json"):
        key = layout.update(site, number)
        for update in reading.attempt(key, partial(ledger.update, site, number)):
            into[site, number] = update


def _read_datasets(reading: Reading, site: str, into: dict[str, Verified[DatasetRecord]]) -> None:
    for number in layout.numbers(reading.keys, f"{layout.prefix(site)}dataset/{{}}.json"):
        for dataset in reading.attempt(layout.dataset(site, number), partial(reading.folder.ledger.dataset, site, number)):
            _take_newer(reading, into, site, dataset)


def _read_models(reading: Reading, site: str, into: dict[tuple[str, ModelKind], Verified[ModelRecord]]) -> None:
    for kind in SHARED_KINDS:
        for number in layout.numbers(reading.keys, f"{layout.prefix(site)}models/{{}}-{kind}.json"):
            key = layout.model(site, number, kind)
            for model in reading.attempt(key, partial(reading.folder.ledger.model, site, number, kind)):
                _take_newer(reading, into, (site, kind), model)


def _read_evaluations(reading: Reading, site: str, into: dict[str, Verified[EvaluationRecord]]) -> None:
    for number in layout.numbers(reading.keys, f"{layout.prefix(site)}evaluation/{{}}.json"):
        key = layout.evaluation(site, number)
        for evaluation in reading.attempt(key, partial(reading.folder.ledger.evaluation, site, number)):
            _take_newer(reading, into, site, evaluation)


def _take_newer(reading: Reading, into: dict[K, Verified[S]], place: K, verified: Verified[S]) -> None:
    """Replace the record numbered before it, unless the new one claims to be older: a retired key may have made it."""
    before = into.get(place)
    if before is not None and verified.record.as_of < before.record.as_of:
        reading.note(
            verified.key, f"{verified.key}: as of round {verified.record.as_of}, expected {before.record.as_of} or later"
        )
        return
    into[place] = verified


def _check_used_updates(reading: Reading, updates: dict[tuple[str, int], Verified[UpdateRecord]]) -> None:
    """Note every update that a round used and that is missing or different."""
    for verified in reading.folder.ledger.rounds:
        number = verified.record.round
        for item in verified.record.contributions:
            key = layout.update(item.site, number)
            used = updates.get((item.site, number))
            if used is not None and used.digest != item.update:
                reading.note(key, f"{key}: SHA-256 {used.digest[:12]}, expected {item.update[:12]}, which round {number} used")
            elif used is None and key not in reading.keys:
                reading.note(key, f"{key}: missing, though round {number} used it")

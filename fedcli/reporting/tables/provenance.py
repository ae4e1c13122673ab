"""Where the results come from: the versions of the software, the digests of records and models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedcli.exchange.history.best_round import best_round

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """The versions behind some of a party's records.

    Attributes:
        party: `coordinator`, or a site.
        fedcli: Version of fedcli.
        python: Version of Python.
        numpy: Version of numpy.
        torch: Version of torch; None where it was not used.
        records: Number of these records in the history.
    """

    party: str
    fedcli: str
    python: str
    numpy: str
    torch: str | None
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDigest:
    """A SHA-256 and what it is of."""

    what: str
    sha256: str


def software(history: History) -> tuple[Software, ...]:
    """Return every combination of versions that each party used, the coordinator's first."""
    counts: dict[tuple[str, str, str, str, str | None], int] = {}
    for verified in _records(history):
        versions = verified.record.versions
        key = (verified.record.party, versions.fedcli, versions.python, versions.numpy, versions.torch)
        counts[key] = counts.get(key, 0) + 1
    return tuple(
        Software(party=party, fedcli=fedcli, python=python, numpy=numpy, torch=torch, records=num)
        for (party, fedcli, python, numpy, torch), num in counts.items()
    )


def digests(history: History) -> tuple[NamedDigest, ...]:
    """Return the digests of plan, federation records, newest and best global model, and the sites' newest records."""
    named = [NamedDigest(what="plan", sha256=history.plan.digest)]
    named += [NamedDigest(what=item.key, sha256=item.digest) for item in history.federations]
    if history.rounds:
        newest = len(history.rounds) - 1
        for number in sorted({newest, best_round(history).round}):
            item = history.rounds[number]
            named.append(NamedDigest(what=item.key, sha256=item.digest))
            named.append(NamedDigest(what=item.artifact.key, sha256=item.artifact.content_sha256))
    sites: list[Verified[Any]] = [*history.datasets.values(), *history.models.values(), *history.evaluations.values()]
    named += [NamedDigest(what=item.key, sha256=item.digest) for item in sorted(sites, key=lambda item: item.key)]
    return tuple(named)


def newest_record(history: History) -> Verified[Record]:
    """Return the latest record: the report takes its date from it, so that the same folder gives the same report."""
    return max(_records(history), key=lambda verified: (verified.record.created, verified.key))


def _records(history: History) -> Iterator[Verified[Record]]:
    yield from history.federations
    yield from history.rounds
    by_site: tuple[dict[Any, Verified[Any]], ...]
    by_site = (history.enrolments, history.datasets, history.updates, history.models, history.evaluations)
    for records in by_site:
        yield from (record for _, record in sorted(records.items()))

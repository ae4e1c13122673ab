"""A site enrols a key: when it joins, when it rotates the key, and when it has lost it; others read its enrolments."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.errors import MissingError, TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.checks import check_signature, parse
from fedcli.exchange.history import Problem
from fedcli.exchange.keys import verify_keys
from fedcli.exchange.records import EnrolmentRecord
from fedcli.party.party import publication
from fedcli.party.transfer.signed_files import read_signature

if TYPE_CHECKING:
    from fedcli.exchange.checks import Signed, Verified
    from fedcli.exchange.signatures import Signer
    from fedcli.party.folder import Folder
    from fedcli.party.party import Party

_MOST = 50
"""Of so many enrolments, the first and the last ones are read: anybody who can write to the folder can add more."""


@dataclass(slots=True, kw_only=True)
class EnrolmentSeries:
    """A site's enrolments, whose numbers may have gaps: a file that does not verify is passed over.

    Attributes:
        site: Whose.
        verified: Those that verify, ascending.
        rotations: Digests of those that are signed by the key of the enrolment that they name as `previous`.
        problems: What does not verify.
    """

    site: str
    verified: list[Verified[EnrolmentRecord]] = field(default_factory=list)
    rotations: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def before(self, signed: Signed) -> Verified[EnrolmentRecord] | None:
        """Return the verified enrolment that another one names as `previous`."""
        previous = parse(signed, EnrolmentRecord).previous
        return next((item for item in self.verified if item.digest == previous), None)


def read_enrolments(folder: Folder, site: str, listed: tuple[str, ...] | None = None) -> EnrolmentSeries:
    """Read and verify a site's enrolments.

    Args:
        folder: The drop folder.
        site: The site.
        listed: Keys of its files; None lists them.

    Raises:
        StoreError: The drop folder cannot be read.
    """
    series, prefix = EnrolmentSeries(site=site), layout.prefix(site)
    keys = folder.list_parties(site)[site].keys if listed is None else listed
    numbers = layout.numbers(keys, f"{prefix}enrolment-{{}}.json")
    for number in numbers if len(numbers) <= 2 * _MOST else (*numbers[:_MOST], *numbers[-_MOST:]):
        key = layout.enrolment(site, number)
        try:
            signed = folder.read(key)
            series.verified.append(_verify(folder, series, number, signed))
        except (TrustError, MissingError, UnreadableError) as error:
            series.problems.append(Problem(key=key, message=str(error)))
    return series


def _verify(folder: Folder, series: EnrolmentSeries, number: int, signed: Signed) -> Verified[EnrolmentRecord]:
    if number == 0:
        return folder.ledger.enrolment(series.site, signed)
    before = series.before(signed)
    countersignature = read_signature(folder.store, signed.key, layout.countersignature(signed.key, wire.sha256(signed.data)))
    enrolment = folder.ledger.later_enrolment(series.site, number, before, signed, countersignature)
    if before is not None:
        try:
            check_signature(signed, signed.signature, verify_keys(before.record.keys))
            series.rotations.add(enrolment.digest)
        except TrustError:
            pass  # signed by the new key only: the site has lost the one before
    return enrolment


def publish_enrolment(party: Party, key: Signer, plan: str, before: Verified[EnrolmentRecord] | None) -> None:
    """Publish a site's enrolment, signed by the site's present key.

    Args:
        party: The site.
        key: The key to enrol; after the first enrolment it countersigns.
        plan: Digest of the plan that the operator approved.
        before: The enrolment before this one.

    Raises:
        StoreError: No number after the one before is free.
    """
    number = layout.free_number(before.record.number if before else -1, partial(layout.enrolment, party.name), party.store.stat)
    record = EnrolmentRecord(
        federation=party.ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(),
        number=number,
        previous=before.digest if before else None,
        plan=plan,
        keys=party.listed_as(key.verify_key),
        tester=party.workspace.settings.tester,
    )
    countersigner = key if number else None
    party.commit(
        party.outbox.draft(f"enrolment-{number:04d}"),
        publication(layout.enrolment(party.name, number), record, countersigner=countersigner),
    )

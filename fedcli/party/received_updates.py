"""The updates that the sites have sent for the open round: verified ones, and rejected ones with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcli.errors import SealedError, TrustError, UnreadableError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.claims import check_counts, counts_differ, growth
from fedcli.exchange.keys import encryption_key
from fedcli.exchange.records import Excused, Rejected
from fedcli.exchange.store.listing import Listing
from fedcli.party.aggregation_input import update_of
from fedcli.party.command_lines import party_command
from fedcli.plan.norm_limits import too_long
from fedcli.text.visible_text import visible
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedcli.aggregation.fold import Folded
    from fedcli.aggregation.update import Update
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import FederationRecord, UpdateRecord
    from fedcli.party.folder import Folder
    from fedcli.party.party import Party
    from fedcli.plan import Aggregation, Limits, Plan
    from fedcli.tensors import Layout

_SITES_AT_ONCE = 64
_RECORDS_AT_ONCE = 5
"""Files of one site that are read ahead: its update and its first data set record, with their signatures."""
REASON_LIMIT = 2000
"""Characters of a reason that a round record has room for."""


@dataclass(slots=True)
class ReceivedUpdates:
    """The updates of one round.

    Attributes:
        members: All sites.
        records: The update records of the sites whose update can be used.
        updates: Their files and weights.
        rejected: The sites whose update is rejected.
        excused: The sites that have sent nothing, and are left out by a person.
        left_out: All sites that a person has left out: the round does not wait for them.
        remarks: What is unusual about the counts of a site's update.
        too_long: The updates that are rejected by the plan's limits of norms; whether they still are depends on the others.
    """

    members: tuple[str, ...]
    records: dict[str, Verified[UpdateRecord]] = field(default_factory=dict)
    updates: dict[str, Update] = field(default_factory=dict)
    rejected: dict[str, Rejected] = field(default_factory=dict)
    excused: dict[str, Excused] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    remarks: dict[str, str] = field(default_factory=dict)
    too_long: dict[str, tuple[Verified[UpdateRecord], Update]] = field(default_factory=dict)

    @property
    def absent(self) -> tuple[str, ...]:
        """The members that have sent nothing, and are not excused."""
        return tuple(site for site in self.members if site not in {*self.records, *self.rejected, *self.excused})

    @property
    def rejections(self) -> tuple[Rejected, ...]:
        """The rejected sites, sorted."""
        return tuple(item for _, item in sorted(self.rejected.items()))

    @property
    def excuses(self) -> tuple[Excused, ...]:
        """The excused sites, sorted."""
        return tuple(item for _, item in sorted(self.excused.items()))

    @property
    def summary(self) -> str:
        """`5 of 7 sites; absent: …; rejected: … (reason)`."""
        text = f"{len(self.records)} of {len(self.members)} sites"
        if self.absent:
            text += f"; absent: {', '.join(self.absent)}"
        for what, items in (("excused", self.excuses), ("rejected", self.rejections)):
            if items:
                text += f"; {what}: " + ", ".join(f"{item.site} ({item.reason})" for item in items)
        return text

    def excuse(self, site: str, reason: str) -> None:
        """Do not wait for a site that has sent nothing, for a reason."""
        self.excused[site] = Excused(site=site, reason=visible(reason)[:REASON_LIMIT])
        self.left_out.add(site)

    def reject(self, site: str, reason: str, *, left_out: bool = False) -> None:
        """Do not use a site's update, for a reason: a fault, or, where it is left out, a person's decision."""
        update = self.records.pop(site, None)
        self.updates.pop(site, None)
        reason = visible(reason)[:REASON_LIMIT]
        self.rejected[site] = Rejected(site=site, update=update.digest if update else None, reason=reason)
        if left_out:
            self.left_out.add(site)

    def limit_norms(self, limits: Limits, folded: Folded) -> tuple[str, ...]:
        """Reject the updates that are too long, and take back those that are no longer; return the sites that this concerns."""
        measured = {share.site: share.trained_norm for share in folded.shares}
        norms = measured | {site: self.rejected[site].norm or 0.0 for site in self.too_long}
        reasons = too_long(limits, norms, folded.base_norm)
        taken_back = self.too_long.keys() - reasons.keys()
        for site in taken_back:
            del self.rejected[site]
            self.records[site], self.updates[site] = self.too_long.pop(site)
        for site in reasons.keys() & measured.keys():
            self.too_long[site] = self.records.pop(site), self.updates.pop(site)
        for site, reason in reasons.items():
            self.rejected[site] = Rejected(site=site, update=self.too_long[site][0].digest, reason=reason, norm=norms[site])
        return tuple(sorted(taken_back | (reasons.keys() & measured.keys())))

    def reason_to_wait(
        self, plan: Plan, deadline: datetime | None, now: datetime, workspace: Path, *, below_quorum: bool = False
    ) -> str:
        """Return why the round stays open, or an empty text.

        Args:
            plan: Says when a round is closed, and whether the federation is a region.
            deadline: Of the round; None waits for all.
            now: The current time.
            workspace: The coordinator's, for the commands in the reason.
            below_quorum: Whether fewer updates than the plan's quorum suffice where a person has left sites out.
        """
        settings = plan.aggregation
        if not self.records:
            return self._nothing(workspace, is_region=bool(plan.tree.above))
        awaited = {site for site in self.members if site not in self.records and site not in self.left_out}
        needed = max(settings.least, settings.quorum if awaited or (self.left_out and not below_quorum) else 0)
        overdue = deadline is not None and now >= deadline
        if len(self.records) >= needed and (overdue or not awaited):
            return ""
        if deadline is not None and awaited and not overdue:
            return f"waiting for all sites until {deadline:%Y-%m-%d %H:%M} UTC, then for at least {needed}"
        if len(self.records) < settings.least and not awaited:
            return (
                f"the rule {settings.rule} needs at least {needed} updates; amend the plan's [aggregation], or admit more sites"
            )
        command = self._closing_command(settings, awaited, workspace)
        if not awaited:
            return f"that is below the plan's quorum of {settings.quorum}; to close the round all the same: `{command}`"
        waiting = f"the deadline has passed; waiting for at least {needed}" if overdue else "waiting for all sites"
        return f"{waiting}; to continue without: `{command}`"

    def _nothing(self, workspace: Path, *, is_region: bool) -> str:
        """Return why there is no update to aggregate."""
        if not self.members:
            return f"no site is admitted yet: `{party_command(workspace, 'admit', 'SITE')}`"
        if self.absent or not self.rejected:
            return "there is nothing to aggregate yet"
        if is_region:
            return "no update is left to send above; the region goes on once the federation above has closed the round without it"
        command = party_command(workspace, "restart", "--from", "ROUND", "--reason", "TEXT")
        return f"no update is left; to go back to the model of an earlier round: `{command}`"

    def _closing_command(self, settings: Aggregation, awaited: set[str], workspace: Path) -> str:
        """Return how a person closes the round without the sites whose update is missing."""
        words = [word for site in sorted(awaited | self.left_out) for word in ("--without", site)]
        below = ["--below-quorum"] if len(self.records) < settings.quorum else []
        return party_command(workspace, "aggregate", *words, "--reason", "TEXT", *below)


def receive_updates(
    party: Party, number: int, federation: FederationRecord, expected: Layout, without: Mapping[str, str]
) -> ReceivedUpdates:
    """Verify every member's update of the open round.

    Raises:
        UsageError: `without` names no member.
    """
    members = federation.trainers
    if unknown := sorted(set(without) - set(members)):
        msg = f"round {number}: {', '.join(unknown)} cannot be left out, expected one of {', '.join(members)}"
        raise UsageError(msg)
    received = ReceivedUpdates(members=members)
    with party.environment.progress.track(f"round {number}: verifying updates", len(members), "sites") as advance:
        for first in range(0, len(members), _SITES_AT_ONCE):
            sites = members[first : first + _SITES_AT_ONCE]
            for site, listing in _listings(party.folder, number, sites).items():
                if site in without:
                    _leave_out(party, number, site, without[site], received)
                elif listing.fault or layout.update(site, number) in listing.keys:
                    _receive(party, number, site, federation, expected, received, listing.keys)
                advance(1, "")
    return received


def discarded_updates(party: Party, reason: str) -> ReceivedUpdates:
    """Return the members of the open round, each update that has arrived as rejected with the reason."""
    number = party.ledger.newest_round + 1
    received = ReceivedUpdates(members=party.ledger.in_force(number).record.trainers)
    for site in received.members:
        try:
            if (update := party.folder.update(site, number)) is not None:
                received.records[site] = update
                received.reject(site, reason)
        except (TrustError, UnreadableError) as error:
            received.reject(site, str(error))
    return received


def _listings(folder: Folder, number: int, sites: Sequence[str]) -> dict[str, Listing]:
    """List the sites' updates of a round and their data set records, and have the stores read them all at once."""
    places = {site: (f"{layout.prefix(site)}round-{number:04d}/", f"{layout.prefix(site)}dataset/") for site in sites}
    prefixes = [prefix for pair in places.values() for prefix in pair]
    listed = folder.store.list_each(prefixes, folder.ledger.bounds.files)
    listings = {}
    for site, pair in places.items():
        update, dataset = (listed[prefix] for prefix in pair)
        listings[site] = Listing(keys=(*update.keys, *dataset.keys), fault=update.fault)
    newest = [key for item in listings.values() for key in item.keys[:_RECORDS_AT_ONCE] if not layout.is_artifact(key)]
    folder.store.read_soon(newest)
    return listings


def _leave_out(party: Party, number: int, site: str, reason: str, received: ReceivedUpdates) -> None:
    """Excuse a site that has sent nothing; reject what it has sent."""
    try:
        update = party.folder.update(site, number)
    except (TrustError, UnreadableError) as error:
        received.reject(site, f"{reason}; {error}", left_out=True)
        return
    if update is None:
        received.excuse(site, reason)
    else:
        received.records[site] = update
        received.reject(site, reason, left_out=True)


def _receive(
    party: Party,
    number: int,
    site: str,
    federation: FederationRecord,
    expected: Layout,
    received: ReceivedUpdates,
    keys: tuple[str, ...],
) -> None:
    update = None
    try:
        update = party.folder.update(site, number)
        if update is not None:
            _hold_against_datasets(party.folder, update, received, keys)
            received.updates[site] = update_of(party.folder, update, federation.plan, expected)
            received.records[site] = update
    except SealedError as error:
        if update is None or not (earlier := _earlier_key(update, federation)):
            raise  # it is sealed to the key that the federation lists for the coordinator, which is not here
        grant = f"{site} grants it to the new key with `fedcli approve --coordinator-key FINGERPRINT`"
        reason = (
            f"{error}; it is sealed to the coordinator's key {earlier[:SHORT_DIGEST]}, which another one has replaced; {grant}"
        )
        _refuse(party, number, site, reason, received)
    except (TrustError, UnreadableError) as error:
        _refuse(party, number, site, str(error), received)


def _refuse(party: Party, number: int, site: str, reason: str, received: ReceivedUpdates) -> None:
    received.reject(site, reason)
    party.environment.progress.event(f"round {number}: {site} is rejected: {reason}")


def _earlier_key(update: Verified[UpdateRecord], federation: FederationRecord) -> str:
    """Return to which of the coordinator's keys an update is sealed, if that is not the one of a federation record."""
    listed, encryption = encryption_key(federation.coordinator), update.artifact.encryption
    named = [item.key for item in encryption.recipients if item.party == layout.COORDINATOR] if encryption is not None else []
    return named[0] if named and listed is not None and listed.digest not in named else ""


def _hold_against_datasets(
    folder: Folder, update: Verified[UpdateRecord], received: ReceivedUpdates, keys: tuple[str, ...]
) -> None:
    """Compare an update's counts with the data set record that it names, and remark if that has grown more than tenfold.

    If an update names none, remark a difference from the newest.

    Raises:
        TrustError: They differ from the record that it names, or there is no such record.
    """
    record, datasets = update.record, folder.datasets(update.record.party, keys=keys)
    if record.dataset is not None:
        named = next(
            (item for item in folder.datasets(record.party, record.dataset, keys) if item.digest == record.dataset), None
        )
        check_counts(update, named)
        before = next((item for item in datasets if item.key < named.key), None) if named else None
        if named and before and (grown := growth(named, before)):
            received.remarks[record.party] = f"its data has grown: {grown}"
    elif (newest := next(datasets, None)) and (difference := counts_differ(record, newest)):
        received.remarks[record.party] = f"it names no data set record, and claims {difference}"

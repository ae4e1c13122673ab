"""What the sites have sent for the open round: verified updates, and the refused ones with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcli.errors import TrustError, UnreadableError, UsageError
from fedcli.exchange.records import Late, Rejected
from fedcli.party.folding import update_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fedcli.aggregation.update import Update
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.records import FederationRecord, UpdateRecord
    from fedcli.party.party import Party
    from fedcli.plan import Aggregation
    from fedcli.tensors import Layout

_REASON = 2000
"""Characters of a reason that a round record has room for."""


@dataclass(slots=True)
class Intake:
    """One round's updates.

    Attributes:
        members: All sites.
        records: The update records of the sites whose update can be used.
        updates: Their files and weights.
        rejected: The sites whose update is refused.
        excused: Sites that a person has left out: nobody waits for them.
    """

    members: tuple[str, ...]
    records: dict[str, Verified[UpdateRecord]] = field(default_factory=dict)
    updates: dict[str, Update] = field(default_factory=dict)
    rejected: dict[str, Rejected] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)

    @property
    def absent(self) -> tuple[str, ...]:
        """The members that have sent nothing."""
        return tuple(site for site in self.members if site not in self.records and site not in self.rejected)

    @property
    def refusals(self) -> tuple[Rejected, ...]:
        """The refused sites, sorted."""
        return tuple(item for _, item in sorted(self.rejected.items()))

    @property
    def summary(self) -> str:
        """`5 of 7 sites; absent: …; rejected: … (reason)`."""
        text = f"{len(self.records)} of {len(self.members)} sites"
        if self.absent:
            text += f"; absent: {', '.join(self.absent)}"
        if self.rejected:
            text += "; rejected: " + ", ".join(f"{item.site} ({item.reason})" for item in self.refusals)
        return text

    def reject(self, site: str, reason: str, *, excused: bool = False) -> None:
        """Take a site's update out, with the reason."""
        found = self.records.pop(site, None)
        self.updates.pop(site, None)
        self.rejected[site] = Rejected(site=site, update=found.digest if found else None, reason=reason[:_REASON])
        if excused:
            self.excused.add(site)

    def reason_to_wait(self, settings: Aggregation, deadline: datetime | None, now: datetime) -> str:
        """Return why the round stays open, or an empty text."""
        if not self.records:
            return "nothing to aggregate yet" if self.members else "no site is admitted yet: fedcli admit SITE"
        awaited = [site for site in self.members if site not in self.records and site not in self.excused]
        needed = max(settings.least, settings.quorum if awaited else 0)
        advice = f"to go on without: fedcli aggregate --without {awaited[0]} --reason TEXT" if awaited else ""
        if awaited and deadline is None:
            return f"waiting for all; {advice}"
        if deadline is not None and awaited and now < deadline:
            return f"waiting for all until {deadline:%Y-%m-%d %H:%M} UTC, then for {needed}"
        if len(self.records) >= needed:
            return ""
        if awaited:
            return f"the deadline has passed; waiting for at least {needed}; {advice}"
        return f"the rule {settings.rule} needs at least {needed} updates; amend the plan's [aggregation], or admit more sites"


def open_deadline(ledger: Ledger) -> datetime | None:
    """Return when the open round may be closed with a quorum; None waits for all.

    Round 1's is counted from the record that lists its members, the newest one: every admission begins it anew. Every later
    one stands in the record of the round before.
    """
    if not ledger.newest_round:
        listed = ledger.in_force(1).record
        hours = listed.plan.aggregation.deadline_hours
        return listed.created + timedelta(hours=hours) if hours else None
    return ledger.rounds[-1].record.deadline if ledger.rounds else None


def take_in(party: Party, number: int, federation: FederationRecord, expected: Layout, without: Mapping[str, str]) -> Intake:
    """Verify every member's update of the open round.

    Raises:
        UsageError: `without` names no member.
    """
    members = tuple(member.site for member in federation.members)
    if unknown := sorted(set(without) - set(members)):
        msg = f"round {number}: {', '.join(unknown)} cannot be left out, expected one of {', '.join(members)}"
        raise UsageError(msg)
    intake = Intake(members=members)
    with party.environment.progress.track(f"round {number}: verifying updates", len(members), "sites") as advance:
        for site in members:
            if site in without:
                intake.reject(site, without[site], excused=True)
            else:
                _take_in_one(party, number, site, federation.plan.aggregation, expected, intake)
            advance(1, "")
    return intake


def _take_in_one(party: Party, number: int, site: str, settings: Aggregation, expected: Layout, intake: Intake) -> None:
    try:
        found = party.folder.update(site, number)
        if found is not None:
            intake.updates[site] = update_of(party.folder, found, settings, expected)
            intake.records[site] = found
    except (TrustError, UnreadableError) as error:
        intake.reject(site, str(error))
        party.environment.progress.event(f"round {number}: {site} is rejected: {error}")


def late_updates(party: Party, number: int) -> tuple[Late, ...]:
    """Return the valid updates of earlier rounds that were missing then and have not been named since."""
    ledger = party.ledger
    named = {(item.site, item.round) for found in ledger.rounds for item in found.record.late}
    found: list[Late] = []
    for earlier in ledger.rounds[1:number]:
        for site in (*earlier.record.absent, *(item.site for item in earlier.record.rejected if item.update is None)):
            if (site, earlier.record.round) in named:
                continue
            try:
                update = party.folder.update(site, earlier.record.round)
            except (TrustError, UnreadableError) as error:
                party.environment.progress.event(f"round {earlier.record.round}: late file of {site} is rejected: {error}")
                continue
            if update is not None:
                found.append(Late(site=site, round=earlier.record.round, update=update.digest))
    return tuple(sorted(found, key=lambda item: (item.site, item.round)))
